package plugin

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gpdedup/gpdedup/repo"
)

func bucketConfig(t *testing.T, options string) (*Config, error) {
	t.Helper()
	return parseConfig([]byte("options:\n  repository: s3://bucket/x\n" + options))
}

func TestBucketOptions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("from a file\nand more\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := bucketConfig(t, `
  endpoint: https://s3.example.com
  region: eu-central-1
  ca_file: /etc/ca.pem
  path_style: true
  access_key_id: AKIA
  secret_access_key: "file:`+file+`"
  session_token: env:TOKEN
  storage_class: packs=STANDARD_IA
  limit_upload: 20MiB/s
  limit_download: 1.5G
`)
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"TOKEN": "from a variable", "AWS_REGION": "elsewhere", "AWS_ACCESS_KEY_ID": "other", "AWS_SECRET_ACCESS_KEY": "other"}
	if err := c.Complete(func(name string) string { return env[name] }); err != nil {
		t.Fatal(err)
	}
	g := c.Target
	if g.Endpoint != "https://s3.example.com" || g.Region != "eu-central-1" || g.CAFile != "/etc/ca.pem" || g.PathStyle == nil || !*g.PathStyle ||
		g.AccessKey != "AKIA" || g.SecretKey != "from a file" || g.SessionToken != "from a variable" ||
		g.LimitUpload != 20<<20 || g.LimitDownload != 1.5e9 {
		t.Errorf("%+v", g)
	}
}

func TestBucketOptionsRefuse(t *testing.T) {
	open := filepath.Join(t.TempDir(), "open")
	if err := errors.Join(os.WriteFile(open, []byte("secret\n"), 0o600), os.Chmod(open, 0o644)); err != nil {
		t.Fatal(err)
	}
	for text, says := range map[string]string{
		"  secret_access_key: abcdef":        "the secret itself",
		"  session_token: abcdef":            "the secret itself",
		"  secret_access_key: env:NOT_SET":   "NOT_SET is not set",
		"  secret_access_key: file:/nowhere": "/nowhere",
		"  secret_access_key: file:" + open:  "0644",
		"  path_style: perhaps":              "true or false",
		"  storage_class: keys=STANDARD_IA":  "only packs and wal",
		"  storage_class: GLACIER":           "cannot be read at once",
		"  limit_upload: fast":               "bytes per second",
		"  ca_file: ca.pem":                  "absolute",
	} {
		c, err := bucketConfig(t, text+"\n")
		if err == nil {
			err = c.Complete(func(string) string { return "" })
		} else {
			err = Usage(err)
		}
		if !errors.Is(err, repo.ErrUsage) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
		if err != nil && strings.Contains(err.Error(), "abcdef") {
			t.Errorf("%q: the error shows the secret: %v", text, err)
		}
	}
}
