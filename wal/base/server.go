package base

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/wal"
)

// Server takes a base backup from a running server, over the replication protocol: all
// tablespaces come one after another over one connection, nothing is kept on this host's
// disks, and a connection that breaks ends the backup on the server too.
type Server struct {
	ctx  context.Context //nolint:containedctx // of the backup
	conn *pgconn.PgConn

	System      wal.SystemID
	Start       wal.LSN // of the backup; 0 before Begin
	Timeline    uint32  // at its start
	SegmentSize uint32  // of the WAL, in bytes
	Tablespaces []Tablespace
	Total       int64 // bytes, as far as the server knows

	oid      string // of the archive that is to come
	have     bool   // an archive is announced
	data     []byte // of the archive that is being read; valid until the next message
	over     bool   // the server has sent all
	manifest []byte
}

// firstVersion is the first server that sends all archives in one stream.
const firstVersion = 15

// Connect connects to a server. dsn is a connection string or URI of libpq; what it does
// not say comes from libpq's environment.
func Connect(ctx context.Context, dsn string) (*Server, error) {
	cfg, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return nil, repo.WithHint(fmt.Errorf("%w: %w", repo.ErrUsage, err), "--dsn 'host=db1 user=replicator', or PGHOST, PGUSER and so on")
	}
	cfg.RuntimeParams["replication"] = "true"
	cfg.RuntimeParams["application_name"] = "gpdedup"
	delete(cfg.RuntimeParams, "statement_timeout")
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, repo.WithHint(fmt.Errorf("connect to the server: %w", err),
			"--dsn, or PGHOST, PGPORT and PGUSER, say where; the user needs the attribute REPLICATION, and pg_hba.conf a line for the database \"replication\"")
	}
	s := &Server{ctx: ctx, conn: conn}
	if err := s.identify(); err != nil {
		_ = conn.Close(ctx) // it was only looked at
		return nil, err
	}
	return s, nil
}

func (s *Server) identify() error {
	version := s.conn.ParameterStatus("server_version")
	major, _, _ := strings.Cut(version, ".")
	digits := strings.TrimRightFunc(major, func(r rune) bool { return r < '0' || r > '9' })
	if n, err := strconv.Atoi(digits); err != nil || n < firstVersion {
		return repo.WithHint(fmt.Errorf("the server is of version %s: %d is the first whose base backups are taken directly", version, firstVersion),
			"pg_basebackup -D - -Ft -X none -c fast | gpdedup base push -")
	}
	row, err := s.query("IDENTIFY_SYSTEM")
	if err != nil {
		return err
	}
	if s.System, err = wal.ParseSystemID(row[0]); err != nil {
		return err
	}
	size, err := s.Setting("wal_segment_size")
	if err != nil {
		return err
	}
	s.SegmentSize, err = parseMegabytes(size)
	return err
}

// parseMegabytes reads 16MB or 1GB, as the server writes the size of its segments.
func parseMegabytes(s string) (uint32, error) {
	digits, unit := strings.TrimRight(s, "GMB"), uint64(1<<20)
	if strings.HasSuffix(s, "GB") {
		unit = 1 << 30
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n*unit < wal.MinSegmentSize || n*unit > wal.MaxSegmentSize {
		return 0, fmt.Errorf("the server has segments of %q", s)
	}
	return uint32(n * unit), nil
}

// Setting returns a setting of the server.
func (s *Server) Setting(name string) (string, error) {
	row, err := s.query("SHOW " + name)
	if err != nil {
		return "", err
	}
	return row[0], nil
}

// query returns the first row of a result.
func (s *Server) query(command string) ([]string, error) {
	results, err := s.conn.Exec(s.ctx, command).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("ask the server: %s: %w", command, err)
	}
	if len(results) == 0 || len(results[0].Rows) == 0 || len(results[0].Rows[0]) == 0 {
		return nil, fmt.Errorf("ask the server: %s: no answer", command)
	}
	var row []string
	for _, v := range results[0].Rows[0] {
		row = append(row, string(v))
	}
	return row, nil
}

// BackupOptions say how the server takes the backup.
type BackupOptions struct {
	Label      string // for the server's backup_label
	Checkpoint string // fast or spread
	WAL        bool   // have the server add the WAL that makes the backup consistent
	MaxRate    int    // KiB a second; 0 is no limit
}

// Begin has the server begin. It returns when the server has made its checkpoint.
func (s *Server) Begin(o BackupOptions) error {
	// WAIT false: whether the WAL is in our archive is for us to find out.
	command := fmt.Sprintf("BASE_BACKUP (LABEL %s, PROGRESS true, CHECKPOINT '%s', WAIT false, MANIFEST 'yes', MANIFEST_CHECKSUMS 'CRC32C'",
		quoteLiteral(o.Label), o.Checkpoint)
	if o.WAL {
		command += ", WAL true"
	}
	if o.MaxRate > 0 {
		command += ", MAX_RATE " + strconv.Itoa(o.MaxRate)
	}
	s.conn.Frontend().SendQuery(&pgproto3.Query{String: command + ")"})
	if err := s.conn.Frontend().Flush(); err != nil {
		return fmt.Errorf("begin base backup: %w", err)
	}
	row, err := s.rows(1)
	if err != nil {
		return fmt.Errorf("begin base backup: %w", err)
	}
	if s.Start, s.Timeline, err = point(row[0]); err != nil {
		return fmt.Errorf("begin base backup: %w", err)
	}
	spaces, err := s.rows(0)
	if err != nil {
		return fmt.Errorf("begin base backup: %w", err)
	}
	for _, r := range spaces {
		if len(r) != 3 {
			return fmt.Errorf("begin base backup: %d columns in the list of tablespaces", len(r))
		}
		if kib, err := strconv.ParseInt(r[2], 10, 64); err == nil {
			s.Total += kib << 10
		}
		if r[0] != "" {
			s.Tablespaces = append(s.Tablespaces, Tablespace{OID: r[0], Path: r[1]})
		}
	}
	for {
		m, err := s.receive()
		if err != nil {
			return fmt.Errorf("begin base backup: %w", err)
		}
		if _, ok := m.(*pgproto3.CopyOutResponse); ok {
			return nil
		}
	}
}

func quoteLiteral(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func point(row []string) (wal.LSN, uint32, error) {
	if len(row) < 2 {
		return 0, 0, errors.New("no address in the server's answer")
	}
	at, err := wal.ParseLSN(row[0])
	if err != nil {
		return 0, 0, err
	}
	timeline, err := strconv.ParseUint(row[1], 10, 32)
	return at, uint32(timeline), err
}

// rows returns the rows of the next result, at least so many.
func (s *Server) rows(least int) ([][]string, error) {
	var rows [][]string
	for {
		m, err := s.receive()
		if err != nil {
			return nil, err
		}
		switch m := m.(type) {
		case *pgproto3.DataRow:
			row := make([]string, len(m.Values))
			for i, v := range m.Values {
				row[i] = string(v)
			}
			rows = append(rows, row)
		case *pgproto3.CommandComplete:
			if len(rows) < least {
				return nil, errors.New("no row in the server's answer")
			}
			return rows, nil
		case *pgproto3.ReadyForQuery:
			return nil, errors.New("the server ended the backup")
		}
	}
}

// receive returns the next message. An error of the server is an error.
func (s *Server) receive() (pgproto3.BackendMessage, error) {
	m, err := s.conn.ReceiveMessage(s.ctx)
	if err != nil {
		if cause := context.Cause(s.ctx); cause != nil {
			err = cause
		}
		return nil, err
	}
	if e, ok := m.(*pgproto3.ErrorResponse); ok {
		return nil, pgconn.ErrorResponseToPgError(e)
	}
	return m, nil
}

// Next returns the next archive.
func (s *Server) Next() (string, io.Reader, error) {
	for !s.have && !s.over {
		if err := s.message(); err != nil {
			return "", nil, err
		}
	}
	if !s.have {
		return "", nil, io.EOF
	}
	s.have = false
	return s.oid, (*serverArchive)(s), nil
}

// serverArchive reads the archive that the server is sending.
type serverArchive Server

func (a *serverArchive) Read(p []byte) (int, error) {
	s := (*Server)(a)
	for len(s.data) == 0 {
		if s.have || s.over || s.manifest != nil {
			return 0, io.EOF
		}
		if err := s.message(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.data)
	s.data = s.data[n:]
	return n, nil
}

// message takes one message of the stream of archives.
func (s *Server) message() error {
	m, err := s.receive()
	if err != nil {
		return fmt.Errorf("read base backup: %w", err)
	}
	switch m := m.(type) {
	case *pgproto3.CopyData:
		if len(m.Data) == 0 {
			return errors.New("read base backup: an empty message")
		}
		return s.copied(m.Data[0], m.Data[1:])
	case *pgproto3.CopyDone:
		s.over = true
		if len(s.manifest) == 0 {
			return errors.New("read base backup: the server sent no manifest")
		}
	case *pgproto3.ReadyForQuery:
		return errors.New("read base backup: the server ended it")
	}
	return nil
}

func (s *Server) copied(kind byte, data []byte) error {
	switch kind {
	case 'n': // a new archive: its name, and where the tablespace is
		name, rest, found := strings.Cut(string(data), "\x00")
		where, _, ended := strings.Cut(rest, "\x00")
		if !found || !ended || s.manifest != nil {
			return errors.New("read base backup: an archive without a name")
		}
		s.oid, s.have = "", true
		if where != "" {
			s.oid = strings.TrimSuffix(path.Base(name), ".tar")
			if _, err := strconv.ParseUint(s.oid, 10, 32); err != nil {
				return fmt.Errorf("read base backup: an archive named %q", name)
			}
		}
	case 'd':
		if s.manifest == nil {
			s.data = data
			return nil
		}
		if len(s.manifest)+len(data) > maxKept {
			return errors.New("read base backup: the manifest is too long")
		}
		s.manifest = append(s.manifest, data...)
	case 'm':
		s.manifest = make([]byte, 0, 64<<10)
	case 'p': // how far the server is
		if len(data) != 8 {
			return errors.New("read base backup: a broken message")
		}
		_ = binary.BigEndian.Uint64(data) // we count ourselves
	default:
		return fmt.Errorf("read base backup: a message of kind %q: %w", kind, repo.ErrNewer)
	}
	return nil
}

// End takes the end of the backup: only now has the server said that all is well.
func (s *Server) End(info *Info) ([]byte, error) {
	row, err := s.rows(1)
	if err != nil {
		return nil, fmt.Errorf("end base backup: %w", err)
	}
	if _, _, err := point(row[0]); err != nil {
		return nil, fmt.Errorf("end base backup: %w", err)
	}
	for {
		m, err := s.receive()
		if err != nil {
			return nil, fmt.Errorf("end base backup: %w", err)
		}
		if _, ok := m.(*pgproto3.ReadyForQuery); ok {
			break
		}
	}
	info.Tablespaces = append(info.Tablespaces[:0], s.Tablespaces...)
	return s.manifest, nil
}

// Close ends the connection, and with it a backup that is not done.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), 2*time.Second)
	defer cancel()
	return s.conn.Close(ctx)
}
