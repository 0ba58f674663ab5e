package repo

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Secret is what opens a key slot. The zero Secret is none, which opens only a
// repository without encryption.
type Secret struct {
	KeyFile         string // path
	Password        string
	PasswordFile    string // path; the first line counts
	PasswordCommand string // run by sh; the first line of its output counts
}

// IsZero reports whether no secret was given.
func (s Secret) IsZero() bool { return s == Secret{} }

const keyFileTag = "gpdedup-key-v1"

// CreateKeyFile writes a fresh key to path, which must not exist.
func CreateKeyFile(path string) error {
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	text := "# gpdedup key file. Whoever has it can read the repository; without it nobody can.\n" +
		"# Keep a copy in another place.\n" + keyFileTag + " " + hex.EncodeToString(key[:]) + "\n"
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("create key file: %w", err)
	}
	defer f.Close()
	_, err = f.WriteString(text)
	// The key must outlive a crash that the repository survives.
	if err = errors.Join(err, f.Chmod(0o600), f.Sync()); err != nil {
		_ = os.Remove(path) // half a key is none
		return fmt.Errorf("write key file %s: %w", path, err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("write key file %s: %w", path, err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("write key file %s: %w", path, err)
	}
	return nil
}

// Read reads what s names: it refuses a key file that is none, and puts the password
// itself in the place of how to come by it.
func (s Secret) Read(ctx context.Context) (Secret, error) {
	var err error
	switch {
	case s.IsZero():
	case s.KeyFile != "":
		_, err = readKeyFile(s.KeyFile)
	default:
		var password string
		if password, err = s.password(ctx); err == nil {
			s = Secret{Password: password}
		}
	}
	return s, err
}

// unreadError says that there is no key to try: ErrWrongKey without those words.
type unreadError struct {
	text string
	err  error
}

func (e *unreadError) Error() string        { return e.text }
func (e *unreadError) Unwrap() error        { return e.err }
func (e *unreadError) Is(target error) bool { return target == ErrWrongKey }

// readSecretFile returns what is in a file that only its owner, and perhaps a group,
// may read.
func readSecretFile(what, path string) ([]byte, error) {
	fail := func(err error) ([]byte, error) {
		if p := (*fs.PathError)(nil); errors.As(err, &p) {
			err = p.Err // without the path once more
		}
		return nil, &unreadError{fmt.Sprintf("read %s %s: %v", what, path, err), err}
	}
	info, err := os.Stat(path)
	if err != nil {
		return fail(err)
	}
	if info.IsDir() {
		return fail(syscall.EISDIR)
	}
	// A terminal or a pipe has a mode that says nothing about who sees what it brings.
	if mode := info.Mode(); mode.IsRegular() && mode.Perm()&0o027 != 0 {
		return nil, WithHint(
			fmt.Errorf("read %s %s: %w: its mode is %04o, so others can read or change it", what, path, ErrUsage, mode.Perm()),
			"chmod 600 "+path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return fail(err)
	}
	return data, nil
}

// readKeyFile returns the key in the file.
func readKeyFile(path string) (key [32]byte, err error) {
	data, err := readSecretFile("key file", path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = WithHint(err, "give the key file that 'gpdedup repo init' wrote, on every host that uses the repository")
		}
		return key, err
	}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		tag, text, _ := strings.Cut(line, " ")
		if tag != keyFileTag || len(text) != 2*len(key) {
			break
		}
		if _, err := hex.Decode(key[:], []byte(text)); err == nil {
			return key, nil
		}
		break
	}
	return key, fmt.Errorf("read key file %s: %w: this is no gpdedup key file", path, ErrWrongKey)
}

// password returns the password that s gives, however it gives it.
func (s Secret) password(ctx context.Context) (string, error) {
	var out []byte
	var err error
	switch {
	case s.PasswordFile != "":
		if out, err = readSecretFile("password file", s.PasswordFile); err != nil {
			return "", err
		}
	case s.PasswordCommand != "":
		if out, err = exec.CommandContext(ctx, "sh", "-c", s.PasswordCommand).Output(); err != nil {
			return "", fmt.Errorf("run password command: %w: %w", ErrWrongKey, err)
		}
	default:
		out = []byte(s.Password)
	}
	line, _, _ := bytes.Cut(out, []byte("\n"))
	if line = bytes.TrimSuffix(line, []byte("\r")); len(line) == 0 {
		return "", fmt.Errorf("%w: the password is empty", ErrWrongKey)
	}
	return string(line), nil
}
