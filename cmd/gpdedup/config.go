package main

import "github.com/gpdedup/gpdedup/plugin"

// readConfig returns what the file that gpbackup is given says.
func readConfig(path string) (settings, error) {
	c, err := plugin.LoadConfig(path)
	if err != nil {
		return settings{}, err
	}
	return settings{
		Repo: c.Repository, Namespace: c.Namespace, CacheDir: c.CacheDir, Secret: c.Secret,
		Compression: c.Compression, Delta: c.Delta, Concurrency: c.Concurrency,
		KeepWrapping: c.KeepWrapping,
	}, nil
}
