package main

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gpdedup/gpdedup/storage/s3/s3test"
)

// TestBucketScripts runs testdata/bucket/*.txtar, which say what the command line
// does with a bucket of a real server, and with servers that have faults. Each
// script has a prefix of its own in the bucket: $REPO. What makes it the real
// server's are Amazon's variables; the others' addresses are in variables of their own.
func TestBucketScripts(t *testing.T) {
	t.Parallel()
	server, secure := s3test.Start(t), s3test.Start(t, s3test.TLS())
	// Whoever has no more than this can back up and restore, and delete nothing.
	server.SetPolicy(t, `{"Statement": [
		{"Effect": "Allow", "Principal": {"AWS": "USER"}, "Action": ["s3:PutObject", "s3:GetObject"], "Resource": "arn:aws:s3:::BUCKET/*"},
		{"Effect": "Allow", "Principal": {"AWS": "USER"}, "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::BUCKET"},
		{"Effect": "Deny", "Principal": {"AWS": "USER"}, "Action": "s3:DeleteObject", "Resource": "arn:aws:s3:::BUCKET/*"}]}`)
	fake := func(prepare func(*s3test.Fake)) string {
		f := s3test.StartFake(t)
		prepare(f)
		return f.Endpoint
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = free.Close() // nobody listens there now
	fakes := []string{
		"TLS_TO_PLAIN=" + strings.Replace(server.Endpoint, "http://", "https://", 1), "NOBODY=http://" + free.Addr().String(),
		"SECURE=" + secure.Endpoint, "SECURE_REPO=" + secure.Location("x"), "SECURE_CA=" + secure.CAFile,
		"SECURE_KEY=" + secure.AccessKey, "SECURE_SECRET=" + secure.SecretKey,
		"SKEWED=" + fake(func(f *s3test.Fake) { f.Skew = -time.Hour }),
		"LATE=" + fake(func(f *s3test.Fake) { f.Late = 2 }),
		"LIAR=" + fake(func(f *s3test.Fake) { f.Conditions = s3test.Racy }),
		"WEAK=" + fake(func(f *s3test.Fake) { f.Conditions = s3test.Ignored }),
		"STRICT=" + fake(func(f *s3test.Fake) { f.Conditions, f.NoDelete = s3test.Required, true }),
		"EXPIRED=" + fake(func(f *s3test.Fake) {
			f.SetHook(func(string, string) s3test.Fault { return s3test.Fault{Status: 400, Code: "ExpiredToken"} })
		}),
		"CONSOLE=" + fake(func(f *s3test.Fake) {
			f.SetHook(func(string, string) s3test.Fault { return s3test.Fault{Status: 404, Plain: true} })
		}),
		"USER_KEY=" + server.UserKey, "USER_SECRET=" + server.UserSecret,
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/bucket",
		Setup: func(env *testscript.Env) error {
			for _, v := range append(append(server.Env(), fakes...), "AWS_EC2_METADATA_DISABLED=true", "TZ=UTC") {
				name, value, _ := strings.Cut(v, "=")
				env.Setenv(name, value)
			}
			env.Setenv("HOME", env.WorkDir+"/home")
			env.Setenv("BUCKET", server.Bucket)
			env.Setenv("ENDPOINT", server.Endpoint)
			env.Setenv("ACCESS", server.AccessKey)
			name := env.WorkDir[strings.LastIndex(env.WorkDir, "/")+1:]
			env.Setenv("REPO", server.Location(name))
			return os.Mkdir(env.WorkDir+"/home", 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"rc": wantExit, "scan": scan, "expand": expand,
		},
	})
}

// expand is the script command expand FILE…: it puts the values of variables into
// files.
func expand(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: expand FILE…")
	}
	for _, file := range args {
		text := os.Expand(ts.ReadFile(file), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
		ts.Check(os.Chmod(ts.MkAbs(file), 0o600))
	}
}
