package plugin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/compress"
	"github.com/gpdedup/gpdedup/repo/spelling"
	"github.com/gpdedup/gpdedup/storage/target"
)

// Config is what the YAML file says that gpbackup is given. What it leaves open is
// the zero value, until Complete.
type Config struct {
	Executable  string // path of the plugin, as gpbackup reads it
	Repository  string
	Secret      repo.Secret
	Namespace   string
	CacheDir    string
	Compression compress.Level
	Delta       repo.DeltaMode
	Concurrency int // cores; 0: as the repository decides
	// KeepWrapping has compressed streams stored as they come (transcode: off).
	KeepWrapping bool
	LogFile      string
	LogLevel     slog.Level
	MetricsFile  string   // file or directory of numbers for Prometheus; empty: none
	Replica      *Replica // nil: none
	// Target says how to get at the storage; its secrets are there after ReadSecrets.
	Target     target.Options
	references references
	// retried, if not nil, hears of every operation of the storage that is tried again.
	retried func()
	// reuse lets what this host read to open the repository before do again.
	reuse bool
}

// Replica says to which repository replicate_backup copies. gpbackup knows options of one
// value only, so what there is to say of the replica stands in a file like this one. A
// mapping in this file is understood too; a file that has one is of no use to gpbackup.
type Replica struct {
	Path   string  // of its file; or
	Config *Config // what the mapping says
}

// maxConfig bounds the file in bytes.
const maxConfig = 1 << 20

// LoadConfig reads the YAML file at path. Every error is one of usage.
func LoadConfig(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, usagef("read config: %w", err)
	}
	defer f.Close()
	return ReadConfig(path, f)
}

// ReadConfig is LoadConfig for what r holds; path names it in errors.
func ReadConfig(path string, r io.Reader) (*Config, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxConfig+1))
	if err != nil {
		return nil, usagef("read config %s: %w", path, err)
	}
	if len(data) > maxConfig {
		return nil, usagef("read config %s: it is longer than %d bytes", path, maxConfig)
	}
	c, err := parseConfig(data, filepath.Base(os.Args[0]))
	if err != nil {
		return nil, usagef("read config %s: %w", path, err)
	}
	return c, nil
}

// options are the ones that a user can set, sorted.
var options = map[string]func(c *Config, value string) error{
	"repository":       func(c *Config, v string) error { c.Repository = v; return absoluteLocation(v) },
	"key_file":         func(c *Config, v string) error { c.Secret.KeyFile = v; return absolute(v) },
	"password_file":    func(c *Config, v string) error { c.Secret.PasswordFile = v; return absolute(v) },
	"password_command": func(c *Config, v string) error { c.Secret.PasswordCommand = v; return nil },
	"namespace":        func(c *Config, v string) error { c.Namespace = v; return nil },
	"cache_dir":        func(c *Config, v string) error { c.CacheDir = v; return absolute(v) },
	"log_file":         func(c *Config, v string) error { c.LogFile = v; return absolute(v) },
	"metrics_file":     func(c *Config, v string) error { c.MetricsFile = v; return absolute(v) },
	"log_level": func(c *Config, v string) error {
		if err := c.LogLevel.UnmarshalText([]byte(v)); err != nil {
			return fmt.Errorf("%q is not debug, info, warn or error%s", v, spelling.DidYouMean(v, []string{"debug", "info", "warn", "error"}))
		}
		return nil
	},
	"compression": func(c *Config, v string) (err error) {
		c.Compression, err = compress.ParseLevel(v)
		return err
	},
	"concurrency": func(c *Config, v string) (err error) {
		if c.Concurrency, err = strconv.Atoi(v); err != nil || c.Concurrency < 1 || c.Concurrency > 1024 {
			return fmt.Errorf("%q is not a number from 1 to 1024", v)
		}
		return nil
	},
	"delta": func(c *Config, v string) (err error) {
		c.Delta, err = repo.ParseDeltaMode(v)
		return err
	},
	"transcode": func(c *Config, v string) error {
		if v != "on" && v != "off" {
			return fmt.Errorf("%q is not on or off", v)
		}
		c.KeepWrapping = v == "off"
		return nil
	},
}

// injected are the options that gpbackup adds, or that are meant for it.
var injected = []string{"pgport", "backup_plugin_version", "restore_subset", "password_encryption"}

// parseConfig reads a configuration. gpbackup also adds an option that is named
// after the executable; names are what that may be called.
func parseConfig(data []byte, names ...string) (*Config, error) {
	top, err := document(data)
	if err != nil {
		return nil, err
	}
	c := &Config{}
	var given *yaml.Node
	err = eachPair(top, "", func(key, value *yaml.Node) error {
		switch key.Value {
		case "executablepath":
			text, err := scalar(value)
			if err != nil {
				return fmt.Errorf("line %d: executablepath: %w", value.Line, err)
			}
			c.Executable = text
			names = append(names, filepath.Base(os.ExpandEnv(text)))
		case "options":
			given = value
		default:
			return fmt.Errorf("line %d: unknown key %q%s: known are executablepath and options", key.Line, key.Value,
				spelling.Aside(key.Value, []string{"executablepath", "options"}))
		}
		return nil
	})
	if err != nil || given == nil || isNull(given) {
		return c, err
	}
	// The options come last, whatever the order, because the executable's name
	// decides which are known.
	return c, c.parseOptions(given, "options", append(names, injected...))
}

// parseOptions reads a mapping of options; others are not looked at.
func (c *Config) parseOptions(given *yaml.Node, where string, others []string) error {
	if given.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: %s is not a list of 'name: value'", given.Line, where)
	}
	prefix := ""
	if where == replicaOption {
		prefix = "replica: "
	}
	err := eachPair(given, where+": ", func(key, value *yaml.Node) error {
		if key.Value == replicaOption && where != replicaOption {
			return c.parseReplica(value)
		}
		text, err := scalar(value)
		if err != nil {
			return fmt.Errorf("line %d: %soption %s: %w", value.Line, prefix, key.Value, err)
		}
		set := options[key.Value]
		switch {
		case set != nil && text != "":
			if err := set(c, text); err != nil {
				return fmt.Errorf("line %d: %soption %s: %w", value.Line, prefix, key.Value, err)
			}
		case set == nil && !slices.Contains(others, key.Value):
			known := knownOptions()
			if where != replicaOption {
				known = append(known, "restore_subset") // gpbackup's own, which people write, unlike the rest of injected
				slices.Sort(known)
			}
			return fmt.Errorf("line %d: %sunknown option %q%s: known are %s", key.Line, prefix, key.Value,
				spelling.Aside(key.Value, known), strings.Join(known, ", "))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return oneSecret(c.Secret, "key_file", "password_file", "password_command", "")
}

const replicaOption = "replica"

// parseReplica reads the option replica: the path of a file, or a mapping of options.
func (c *Config) parseReplica(value *yaml.Node) error {
	if value.Kind == yaml.MappingNode {
		c.Replica = &Replica{Config: &Config{}}
		return c.Replica.Config.parseOptions(value, replicaOption, nil)
	}
	text, err := scalar(value)
	if err == nil && text != "" {
		c.Replica, err = &Replica{Path: text}, absolute(text)
	}
	if err != nil {
		return fmt.Errorf("line %d: option %s: %w", value.Line, replicaOption, err)
	}
	return nil
}

func knownOptions() []string {
	known := []string{replicaOption}
	for name := range options {
		known = append(known, name)
	}
	slices.Sort(known)
	return known
}

// document returns the only mapping of the only document.
func document(data []byte) (*yaml.Node, error) {
	var doc, more yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, errors.New("it is empty")
	} else if err != nil {
		return nil, err
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("it holds more than one YAML document")
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("it is not a list of 'name: value'")
	}
	return doc.Content[0], nil
}

// eachPair calls fn for the pairs of a mapping and refuses one that comes twice.
func eachPair(m *yaml.Node, where string, fn func(key, value *yaml.Node) error) error {
	seen := make(map[string]bool)
	for i := 0; i+1 < len(m.Content); i += 2 {
		key := m.Content[i]
		if key.Kind != yaml.ScalarNode {
			return fmt.Errorf("line %d: %sa name is expected", key.Line, where)
		}
		if seen[key.Value] {
			return fmt.Errorf("line %d: %s%q is given twice", key.Line, where, key.Value)
		}
		seen[key.Value] = true
		if err := fn(key, m.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// scalar returns a value as it is written in the file: gpbackup, too, makes a text
// of everything.
func scalar(n *yaml.Node) (string, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch {
	case n.Kind != yaml.ScalarNode:
		return "", errors.New("a single value is expected, not a list")
	case isNull(n):
		return "", nil
	}
	return n.Value, nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// absolute refuses relative paths: the working directory is a database's, and
// another one in every call.
func absolute(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%q is not an absolute path", path)
	}
	return nil
}

func absoluteLocation(location string) error {
	if strings.Contains(location, "://") {
		return nil
	}
	return absolute(location)
}

// oneSecret refuses a secret that is given in more than one way, by their names.
func oneSecret(s repo.Secret, keyFile, passwordFile, passwordCommand, password string) error {
	first := ""
	for _, way := range [][2]string{
		{s.KeyFile, keyFile}, {s.PasswordFile, passwordFile}, {s.PasswordCommand, passwordCommand}, {s.Password, password},
	} {
		switch {
		case way[0] == "":
		case first == "":
			first = way[1]
		default:
			return fmt.Errorf("both %s and %s are given", first, way[1])
		}
	}
	return nil
}
