package main

import (
	"fmt"

	"github.com/gpdedup/gpdedup/plugin"
)

// readConfig returns what the file that gpbackup is given says.
func readConfig(path string, getenv func(string) string) (settings, error) {
	c, err := plugin.LoadConfig(path)
	if err != nil {
		return settings{}, err
	}
	if err := c.ReadSecrets(getenv); err != nil {
		return settings{}, fmt.Errorf("read config %s: %w", path, err)
	}
	return settings{
		Repo: c.Repository, Namespace: c.Namespace, CacheDir: c.CacheDir, Secret: c.Secret,
		Compression: c.Compression, Delta: c.Delta, Concurrency: c.Concurrency,
		KeepWrapping: c.KeepWrapping,
		Target:       c.Target,
		MetricsFile:  c.MetricsFile,
	}, nil
}
