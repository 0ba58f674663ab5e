package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
)

// Archive is the WAL of one cluster, or of one segment of a Greenplum cluster, in a
// repository: all epochs of a namespace and a content id. It is safe for concurrent
// use.
type Archive struct {
	Namespace string
	Content   string // Greenplum's content id in decimal, "0" elsewhere

	st     storage.Storage
	keys   *seal.Keys
	opener *opener
	prefix string
}

const walPrefix = "wal/"

// DefaultContent is the content id where there is none.
const DefaultContent = "0"

var contentID = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(0|-?[1-9][0-9]{0,8})$`) })

// Open returns the archive of the namespace and the content id. Nothing is read: an
// archive that holds nothing is an empty one.
func Open(r *repo.Repo, namespace, content string) (*Archive, error) {
	return OpenAt(r, r.Storage(), namespace, content)
}

// OpenAt is Open with another way to the repository's storage, say a more patient one.
func OpenAt(r *repo.Repo, st storage.Storage, namespace, content string) (*Archive, error) {
	prefix, err := archivePrefix(namespace, content)
	if err != nil {
		return nil, err
	}
	opener, err := newOpener(r.Concurrency())
	if err != nil {
		return nil, err
	}
	return &Archive{
		Namespace: namespace, Content: content, st: st, keys: r.Keys(), opener: opener, prefix: prefix,
	}, nil
}

// fileByFile returns the same archive for whoever sends several files at once.
func (a *Archive) fileByFile() *Archive {
	b := *a
	b.opener = a.opener.fileByFile()
	return &b
}

// archivePrefix returns what the keys of an archive begin with.
func archivePrefix(namespace, content string) (string, error) {
	ns, err := repo.EscapeName("namespace", namespace)
	if err != nil {
		return "", err
	}
	if !contentID().MatchString(content) {
		return "", repo.WithHint(fmt.Errorf("%w: %.40q is not a content id", repo.ErrUsage, content),
			"Greenplum puts it in place of %c; leave --content out elsewhere")
	}
	return walPrefix + ns + "/" + content + "/", nil
}

// Contents returns the content ids that have an archive in the namespace, ascending.
func Contents(ctx context.Context, r *repo.Repo, namespace string) ([]string, error) {
	ns, err := repo.EscapeName("namespace", namespace)
	if err != nil {
		return nil, err
	}
	children, err := r.Storage().Children(ctx, walPrefix+ns+"/")
	if err != nil {
		return nil, err
	}
	var contents []string
	for _, c := range children {
		if c.Dir && contentID().MatchString(c.Name) {
			contents = append(contents, c.Name)
		}
	}
	slices.SortFunc(contents, func(a, b string) int {
		x, _ := strconv.Atoi(a)
		y, _ := strconv.Atoi(b)
		return x - y
	})
	return contents, nil
}

// Epochs returns the system identifiers whose files the archive holds, ascending.
func (a *Archive) Epochs(ctx context.Context) ([]SystemID, error) {
	children, err := a.st.Children(ctx, a.prefix)
	if err != nil {
		return nil, err
	}
	var epochs []SystemID
	for _, c := range children {
		id, ok := parseEpoch(c.Name)
		if !c.Dir || !ok {
			continue
		}
		// A directory may have been left by files that are gone.
		below, err := a.st.Children(ctx, a.prefix+c.Name+"/")
		if err != nil {
			return nil, err
		}
		if len(below) > 0 {
			epochs = append(epochs, id)
		}
	}
	return epochs, nil
}

func parseEpoch(s string) (SystemID, bool) {
	v, err := strconv.ParseUint(s, 16, 64)
	id := SystemID(v)
	return id, err == nil && id.String() == s && id != 0
}

// OnlyEpoch returns the one epoch that the archive has. It is ErrAbsent, wrapped, if
// there is none, and an error of another kind if there are several.
func (a *Archive) OnlyEpoch(ctx context.Context) (SystemID, error) {
	epochs, err := a.Epochs(ctx)
	switch {
	case err != nil:
		return 0, err
	case len(epochs) == 0:
		return 0, fmt.Errorf("namespace %q, content %s: %w: nothing is", a.Namespace, a.Content, ErrAbsent)
	case len(epochs) > 1:
		var ids []string
		for _, e := range epochs {
			ids = append(ids, e.Decimal())
		}
		return 0, repo.WithHint(fmt.Errorf("%w: namespace %q, content %s, holds the WAL of %d clusters (system identifiers %s), and nothing says which is meant",
			repo.ErrUsage, a.Namespace, a.Content, len(epochs), strings.Join(ids, ", ")), "run this in the data directory, or name it with --pgdata")
	}
	return epochs[0], nil
}

// ObjectKey returns where the file of an archive is kept in the storage.
func ObjectKey(namespace, content string, epoch SystemID, name Name) (string, error) {
	prefix, err := archivePrefix(namespace, content)
	if err != nil {
		return "", err
	}
	a := Archive{prefix: prefix}
	return a.key(epoch, name), nil
}

// key returns where the file is kept.
func (a *Archive) key(epoch SystemID, name Name) string {
	return a.prefix + epoch.String() + "/" + name.folder() + "/" + name.String()
}

// folder returns the component of the key before the name: what keeps the number of
// segments in one place at 4096 and less.
func (n Name) folder() string {
	if n.isSegment() {
		return fmt.Sprintf("%08X%08X", n.Timeline, n.Log)
	}
	return fmt.Sprintf("%08X", n.Timeline)
}

// Stat reads what is known of a file without its content: 4096 bytes. ErrAbsent,
// wrapped, says that it is proved that the archive does not have the file;
// repo.ErrDamaged that what is there cannot be used.
func (a *Archive) Stat(ctx context.Context, epoch SystemID, name Name) (*Info, error) {
	key := a.key(epoch, name)
	front := make([]byte, metaEnd)
	err := a.st.Read(ctx, key, 0, front)
	if err == nil {
		var info *Info
		if info, _, err = openInfo(a.keys, key, name, front); err == nil {
			return info, checkEpoch(info, epoch)
		}
	}
	return nil, a.explain(key, epoch, name, err)
}

// Get returns a file with its content, checked to the last byte. The errors are those
// of Stat.
func (a *Archive) Get(ctx context.Context, epoch SystemID, name Name) (*Info, []byte, error) {
	object, err := a.object(ctx, epoch, name)
	if err != nil {
		return nil, nil, err
	}
	key := a.key(epoch, name)
	info, _, err := openInfo(a.keys, key, name, object[:min(len(object), metaEnd)])
	if err != nil {
		return nil, nil, a.explain(key, epoch, name, err)
	}
	var file bytes.Buffer
	file.Grow(int(info.Length))
	if info, err = a.opener.open(a.keys, key, name, object, &file); err != nil {
		return nil, nil, a.explain(key, epoch, name, err)
	}
	return info, file.Bytes(), checkEpoch(info, epoch)
}

// Send writes a file to w. Whoever has w must not use what it got before Send returned
// nil, because only then all of it was checked. The errors are those of Stat, and those
// of w, which are returned as they are.
func (a *Archive) Send(ctx context.Context, epoch SystemID, name Name, w io.Writer) (*Info, error) {
	object, err := a.object(ctx, epoch, name)
	if err != nil {
		return nil, err
	}
	return a.send(epoch, name, object, w)
}

// object reads what a file is stored as. The errors are those of Stat.
func (a *Archive) object(ctx context.Context, epoch SystemID, name Name) ([]byte, error) {
	key := a.key(epoch, name)
	object, err := a.st.Get(ctx, key, MaxObject)
	if err != nil {
		return nil, a.explain(key, epoch, name, err)
	}
	return object, nil
}

// send is the second half of Send: it writes the file that the object holds to w.
func (a *Archive) send(epoch SystemID, name Name, object []byte, w io.Writer) (*Info, error) {
	key := a.key(epoch, name)
	to := &recipient{Writer: w}
	info, err := a.opener.open(a.keys, key, name, object, to)
	switch {
	case err == nil:
		return info, checkEpoch(info, epoch)
	case to.err != nil:
		return nil, to.err
	}
	return nil, a.explain(key, epoch, name, err)
}

// recipient remembers what went wrong with its writer.
type recipient struct {
	io.Writer
	err error
}

func (r *recipient) Write(p []byte) (int, error) {
	n, err := r.Writer.Write(p)
	r.err = err
	return n, err
}

// MaxObject bounds an object in bytes: a segment of the largest size that does not
// shrink, and what is around it.
const MaxObject = MaxSegmentSize + MaxSegmentSize/8

// checkEpoch refuses an object that lies where another cluster's files are. Keys are
// bound to objects, so only a broken writer can have put it there.
func checkEpoch(info *Info, epoch SystemID) error {
	if info.System != epoch {
		return &ForeignError{File: info.Name, Got: info.System, Want: epoch}
	}
	return nil
}

func (a *Archive) explain(key string, epoch SystemID, name Name, err error) error {
	switch {
	case errors.Is(err, storage.ErrNotExist):
		return fmt.Errorf("%s %w (namespace %q, content %s, system identifier %s): %w", name, ErrAbsent, a.Namespace, a.Content, epoch.Decimal(), err)
	case errors.Is(err, storage.ErrShort), errors.Is(err, storage.ErrTooLong):
		return fmt.Errorf("%s: %w: %w", key, repo.ErrDamaged, err)
	case errors.Is(err, repo.ErrDamaged):
		return repo.WithHint(fmt.Errorf("%s: %w", key, err), "if the server or a standby still has the file in pg_wal, move the damaged object away and push it again")
	}
	return fmt.Errorf("%s: %w", key, err)
}

// Entry is a file in a listing.
type Entry struct {
	Name   Name
	Stored int64 // bytes that its object takes
}

// List calls fn for every file of an epoch, in no particular order. What no version
// has written is passed to foreign, if that is not nil, by its key.
func (a *Archive) List(ctx context.Context, epoch SystemID, fn func(Entry) error, foreign func(key string)) error {
	prefix := a.prefix + epoch.String() + "/"
	return a.st.List(ctx, prefix, func(info storage.Info) error {
		folder, file, _ := strings.Cut(strings.TrimPrefix(info.Key, prefix), "/")
		if folder == standbyFolder {
			return nil
		}
		name, err := ParseName(file)
		if err != nil || name.folder() != folder {
			if foreign != nil {
				foreign(info.Key)
			}
			return nil
		}
		return fn(Entry{Name: name, Stored: info.Size})
	})
}

// standbyFolder holds the marks of standbys, beside the folders of files.
const standbyFolder = "standbys"
