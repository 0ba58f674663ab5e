package repo

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/digest"
)

// rootLog remembers on this host what manifests and leaf lists root, so that the next
// collection need not read them again: neither ever changes. It is one file, to which
// records are appended; one process at a time appends, any number reads. Losing it costs
// time only. A record that is damaged must not pass, for what it leaves out would be
// collected: each is bound by a keyed hash to what it is about.
//
//	record: length of ids u32 ‖ leaf lists u32 ‖ about [32] ‖ ids, leaf lists first ‖ keyed hash [32]
//
// A nil rootLog remembers nothing.
type rootLog struct {
	namer func([]byte) digest.ID

	mu      sync.Mutex
	file    *os.File
	out     *bufio.Writer // nil: another process appends
	end     int64
	records map[digest.ID]rootRecord
}

// rootRecord is where a record lies.
type rootRecord struct {
	at     int64
	ids    uint32
	leaves uint32
}

const (
	rootLogName  = "roots"
	rootLogLimit = 1 << 30 // bytes from which on the file is begun anew
	rootHead     = 4 + 4 + digest.Size
	maxRootIDs   = 1 << 22 // of one record
)

// openRootLog opens the log in a directory that is this user's own. Whatever is wrong
// with it, the answer is a log that remembers less.
func (r *Repo) openRootLog() *rootLog {
	if r.cacheDir == "" {
		return nil
	}
	path := filepath.Join(r.cacheDir, rootLogName)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		r.log.Warn("no log of roots", "file", path, "error", err)
		return nil
	}
	namer := r.keys.Namer()
	l := &rootLog{file: file, records: make(map[digest.ID]rootRecord), namer: namer.Sum}
	appends := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
	if info, err := file.Stat(); appends && err == nil && info.Size() > rootLogLimit {
		_ = file.Truncate(0)
	}
	l.scan()
	if appends {
		// What a process that was killed left half written goes.
		if err := file.Truncate(l.end); err == nil {
			l.out = bufio.NewWriterSize(&offsetWriter{file, l.end}, 1<<20)
		}
	}
	return l
}

// offsetWriter writes at an offset of its own: readers of the file move none.
type offsetWriter struct {
	file *os.File
	at   int64
}

func (w *offsetWriter) Write(p []byte) (int, error) {
	n, err := w.file.WriteAt(p, w.at)
	w.at += int64(n)
	return n, err
}

// scan finds the records. Their contents are looked at when they are asked for.
func (l *rootLog) scan() {
	info, err := l.file.Stat()
	if err != nil {
		return
	}
	in := bufio.NewReader(io.NewSectionReader(l.file, 0, info.Size()))
	for {
		var head [rootHead]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		rec := rootRecord{at: l.end, ids: binary.LittleEndian.Uint32(head[:]), leaves: binary.LittleEndian.Uint32(head[4:])}
		size := rec.size()
		if rec.ids > maxRootIDs || rec.leaves > rec.ids || l.end+size > info.Size() {
			return
		}
		if _, err := in.Discard(int(size - rootHead)); err != nil {
			return
		}
		l.records[digest.ID(head[8:])] = rec
		l.end += size
	}
}

func (r rootRecord) size() int64 { return rootHead + (int64(r.ids)+1)*digest.Size }

func (l *rootLog) get(about digest.ID) (list rootList, ok bool) {
	if l == nil {
		return list, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	rec, ok := l.records[about]
	if !ok {
		return list, false
	}
	if l.out != nil && rec.at+rec.size() > l.end-int64(l.out.Buffered()) && l.out.Flush() != nil {
		return list, false
	}
	data := make([]byte, rec.size())
	if _, err := l.file.ReadAt(data, rec.at); err != nil {
		return list, false
	}
	body := data[:len(data)-digest.Size]
	if digest.ID(data[8:rootHead]) != about || l.namer(body) != digest.ID(data[len(body):]) {
		delete(l.records, about)
		return list, false
	}
	ids := make([]digest.ID, rec.ids)
	for i := range ids {
		ids[i] = digest.ID(body[rootHead+i*digest.Size:])
	}
	return rootList{leaves: ids[:rec.leaves], rows: ids[rec.leaves:]}, true
}

func (l *rootLog) add(about digest.ID, list rootList) {
	n := len(list.leaves) + len(list.rows)
	if l == nil || n > maxRootIDs {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.out == nil {
		return
	}
	rec := rootRecord{at: l.end, ids: uint32(n), leaves: uint32(len(list.leaves))}
	data := make([]byte, 0, rec.size())
	data = binary.LittleEndian.AppendUint32(data, rec.ids)
	data = binary.LittleEndian.AppendUint32(data, rec.leaves)
	data = append(data, about[:]...)
	for _, ids := range [2][]digest.ID{list.leaves, list.rows} {
		for i := range ids {
			data = append(data, ids[i][:]...)
		}
	}
	sum := l.namer(data)
	if _, err := l.out.Write(append(data, sum[:]...)); err != nil {
		l.out = nil // a full disk, say; what is there stays of use
		return
	}
	l.records[about] = rec
	l.end += rec.size()
}

// manifestAbout names one version of a manifest in the log.
func (l *rootLog) manifestAbout(key rootKey) digest.ID {
	text := fmt.Sprintf("manifest %q %d ", key.key, key.size) + strconv.FormatInt(key.at, 10)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.namer([]byte(text))
}

func (l *rootLog) manifest(key rootKey) (rootList, bool) {
	if l == nil {
		return rootList{}, false
	}
	return l.get(l.manifestAbout(key))
}

func (l *rootLog) addManifest(key rootKey, list rootList) {
	if l != nil {
		l.add(l.manifestAbout(key), list)
	}
}

func (l *rootLog) leaf(id digest.ID) ([]digest.ID, bool) {
	list, ok := l.get(id)
	return list.rows, ok
}

func (l *rootLog) addLeaf(id digest.ID, rows []digest.ID) { l.add(id, rootList{rows: rows}) }

func (l *rootLog) close() {
	if l == nil {
		return
	}
	if l.out != nil {
		_ = l.out.Flush()
	}
	_ = l.file.Close()
}
