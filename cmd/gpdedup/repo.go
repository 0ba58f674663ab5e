package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
)

// RepoCmd is the group gpdedup repo.
type RepoCmd struct {
	Init   RepoInitCmd   `cmd:"" help:"Make a repository."`
	Info   RepoInfoCmd   `cmd:"" help:"Say what a repository is."`
	Stats  RepoStatsCmd  `cmd:"" help:"Say how much it holds and what that takes."`
	Check  RepoCheckCmd  `cmd:"" help:"Look for damage."`
	Repair RepoRepairCmd `cmd:"" help:"Save what can be saved of what is damaged."`
	Copy   RepoCopyCmd   `cmd:"" help:"Copy backups, streams and WAL to another repository."`
	Prune  RepoPruneCmd  `cmd:"" help:"Free the space of what was deleted."`
	Key    RepoKeyCmd    `cmd:"" help:"What opens the repository: list, add, remove, rotate."`
	Probe  RepoProbeCmd  `cmd:"" help:"Find out what a storage does, before or after a repository is made there."`
}

// RepoInfoCmd is gpdedup repo info.
type RepoInfoCmd struct{}

// Help shows an example.
func (RepoInfoCmd) Help() string {
	return "Example:\n\n\tgpdedup repo info --repo /backup/gpdedup --key-file /etc/gpdedup.key\n"
}

type infoReport struct {
	ID            string          `json:"id"`
	Location      string          `json:"location"`
	Created       time.Time       `json:"created"`
	Encryption    string          `json:"encryption"`
	FormatVersion int             `json:"format_version"`
	Chunks        chunkInfo       `json:"chunks"`
	KeyEpoch      uint16          `json:"key_epoch,omitempty"` // with which is sealed what is written now
	KeySlots      []slotInfo      `json:"key_slots"`
	Timestamps    int             `json:"timestamps"`
	Streams       int             `json:"streams"`
	Namespaces    []namespaceInfo `json:"namespaces"`
	Cache         cacheInfo       `json:"cache"`
	Target        *repo.Target    `json:"target,omitempty"` // of a bucket: what init found
	Weaker        []string        `json:"weaker,omitempty"` // what does not hold there
}

type chunkInfo struct {
	Mean int  `json:"mean_bytes"`
	Min  uint `json:"min_bytes"`
	Max  uint `json:"max_bytes"`
}

type slotInfo struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

type namespaceInfo struct {
	Namespace  string `json:"namespace"`
	Timestamps int    `json:"timestamps"` // that are not deleted
	Streams    int    `json:"streams"`    // names, whatever the number of versions
}

type cacheInfo struct {
	Dir    string `json:"dir,omitempty"` // none: no cache
	Exists bool   `json:"exists"`
	Bytes  int64  `json:"bytes"`
}

// Run says what the repository is.
func (RepoInfoCmd) Run(g *Globals) error {
	r, err := g.Open("read")
	if err != nil {
		return err
	}
	defer r.Close()
	c := r.Config()
	report := &infoReport{
		ID: c.IDHex, Location: r.Storage().Location(), Created: c.Created, Encryption: c.Encryption,
		FormatVersion: seal.Version, // the only one that opens
		Chunks:        chunkInfo{c.Chunks.Mean(), c.Chunks.Min, c.Chunks.Max},
		KeySlots:      []slotInfo{}, Namespaces: []namespaceInfo{},
		Cache: cacheState(g.CacheDir, c.IDHex), Target: c.Target, Weaker: weaker(&c, r.Storage()),
	}
	if err := report.addSlots(g.Context(), r); err != nil {
		return fmt.Errorf("list key slots: %w", err)
	}
	if err := report.addNamespaces(g.Context(), r); err != nil {
		return err
	}
	return g.Print(report, report.write)
}

// weaker says what a storage lacks that others have.
func weaker(c *repo.Config, st storage.Storage) []string {
	if _, ok := storage.As[storage.Traited](st); !ok {
		return nil
	}
	if c.Target == nil {
		return []string{"nobody found out whether it has conditional puts ('gpdedup repo probe' does): each put costs two requests more"}
	}
	if c.Target.ConditionalPut {
		return nil
	}
	return []string{"no conditional put: of two writers of one name at once (two clusters of one namespace, two archivers of one WAL segment) both may believe that they won; what is put is read again"}
}

// addSlots lists the key slots.
func (i *infoReport) addSlots(ctx context.Context, r *repo.Repo) error {
	if c := r.Config(); !c.Encrypted() {
		i.KeySlots = append(i.KeySlots, slotInfo{Kind: "no encryption", Name: "plain"})
		return nil
	}
	keys, err := r.KeyTable(ctx)
	if err != nil {
		return err
	}
	i.KeyEpoch = keys.Epoch
	for _, s := range keys.Slots {
		i.KeySlots = append(i.KeySlots, slotInfo{s.Kind, s.ID})
	}
	return nil
}

func (i *infoReport) addNamespaces(ctx context.Context, r *repo.Repo) error {
	byName := make(map[string]int) // index in i.Namespaces
	for _, class := range []repo.Class{repo.Backup, repo.Named} {
		namespaces, err := r.Namespaces(ctx, class)
		if err != nil {
			return err
		}
		for _, ns := range namespaces {
			at, known := byName[ns]
			if !known {
				at = len(i.Namespaces)
				byName[ns] = at
				i.Namespaces = append(i.Namespaces, namespaceInfo{Namespace: ns})
			}
			n, err := countGroups(ctx, r, class, ns)
			if err != nil {
				return err
			}
			if class == repo.Backup {
				i.Namespaces[at].Timestamps = n
				i.Timestamps += n
			} else {
				i.Namespaces[at].Streams = n
				i.Streams += n
			}
		}
	}
	return nil
}

func countGroups(ctx context.Context, r *repo.Repo, class repo.Class, namespace string) (int, error) {
	groups, err := r.Groups(ctx, class, namespace)
	if err != nil || class != repo.Backup {
		return len(groups), err
	}
	deleted, err := r.DeletedGroups(ctx, class, namespace)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, group := range groups {
		if !deleted[group] {
			n++
		}
	}
	return n, nil
}

// cacheState says what the cache of a repository takes on this host.
func cacheState(dir, id string) cacheInfo {
	if dir == "" {
		return cacheInfo{}
	}
	c := cacheInfo{Dir: filepath.Join(dir, id)}
	if _, err := os.Stat(c.Dir); err != nil {
		return c
	}
	c.Exists = true
	_ = filepath.WalkDir(c.Dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it was removed meanwhile
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			c.Bytes += info.Size()
		}
		return nil
	})
	return c
}

func (i *infoReport) write(w io.Writer) {
	t := newTable(w)
	row(t, "repository", i.ID)
	row(t, "location", i.Location)
	row(t, "created", formatTime(i.Created))
	row(t, "format", fmt.Sprintf("version %d", i.FormatVersion))
	row(t, "encryption", i.Encryption)
	if i.KeyEpoch > 1 {
		row(t, "key epoch", strconv.Itoa(int(i.KeyEpoch)))
	}
	row(t, "chunks", fmt.Sprintf("%s on average, %s to %s", formatBytes(i.Chunks.Mean), formatBytes(i.Chunks.Min), formatBytes(i.Chunks.Max)))
	for _, s := range i.KeySlots {
		row(t, "key slot", fmt.Sprintf("%s (%s)", s.Kind, s.Name))
	}
	holds := func(timestamps, streams int) string {
		return count(timestamps, "timestamp") + ", " + count(streams, "named stream")
	}
	row(t, "holds", holds(i.Timestamps, i.Streams))
	for _, n := range i.Namespaces {
		row(t, "namespace", n.Namespace+": "+holds(n.Timestamps, n.Streams))
	}
	if i.Target != nil {
		yes := map[bool]string{true: "yes", false: "no"}
		row(t, "storage", fmt.Sprintf("conditional put %s, CRC-32C %s (found %s)", yes[i.Target.ConditionalPut], yes[i.Target.CRC32C], formatTime(i.Target.Probed)))
	}
	for _, w := range i.Weaker {
		row(t, "weaker", w)
	}
	cache := "none"
	if i.Cache.Exists {
		cache = fmt.Sprintf("%s (%s)", i.Cache.Dir, formatBytes(i.Cache.Bytes))
	} else if i.Cache.Dir != "" {
		cache = i.Cache.Dir + " (not made yet)"
	}
	row(t, "cache", cache)
	_ = t.Flush() // to a buffer
}
