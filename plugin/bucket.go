package plugin

import (
	"fmt"
	"strconv"
	"time"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/storage/target"
)

// references are the ways to the secrets of a bucket, as the file has them.
type references struct{ accessKey, secretKey, sessionToken string }

// bucketOptions are the options that say how to get at the storage. They are of
// buckets, but for the limits.
var bucketOptions = map[string]func(c *Config, value string) error{
	"endpoint": func(c *Config, v string) error { c.Target.Endpoint = v; return nil },
	"region":   func(c *Config, v string) error { c.Target.Region = v; return nil },
	"ca_file":  func(c *Config, v string) error { c.Target.CAFile = v; return absolute(v) },
	"path_style": func(c *Config, v string) error {
		on, err := strconv.ParseBool(v)
		if err != nil {
			return fmt.Errorf("%q is not true or false", v)
		}
		c.Target.PathStyle = &on
		return nil
	},
	"access_key_id":     func(c *Config, v string) error { c.references.accessKey = v; return nil },
	"secret_access_key": func(c *Config, v string) error { c.references.secretKey = v; return nil },
	"session_token":     func(c *Config, v string) error { c.references.sessionToken = v; return nil },
	"storage_class": func(c *Config, v string) (err error) {
		c.Target.StorageClass, err = target.ParseStorageClass(v)
		return err
	},
	"patience": func(c *Config, v string) (err error) {
		if c.Target.Patience, err = time.ParseDuration(v); err != nil || c.Target.Patience <= 0 {
			return fmt.Errorf("%q is not a time such as 30s or 5m", v)
		}
		return nil
	},
	"limit_upload": func(c *Config, v string) (err error) {
		c.Target.LimitUpload, err = target.ParseRate(v)
		return err
	},
	"limit_download": func(c *Config, v string) (err error) {
		c.Target.LimitDownload, err = target.ParseRate(v)
		return err
	},
}

func init() { //nolint:gochecknoinits // one list of options, in two files
	for name, set := range bucketOptions {
		options[name] = set
	}
}

// ReadSecrets follows the references to the bucket's keys. It is called when the
// storage is about to be opened, not when the file is read.
func (c *Config) ReadSecrets(getenv func(string) string) error {
	// The id of a key is no secret.
	if id := c.references.accessKey; !isReference(id) {
		c.Target.AccessKey = id
		c.references.accessKey = ""
	}
	for _, r := range []struct {
		option, reference string
		dst               *string
	}{
		{"access_key_id", c.references.accessKey, &c.Target.AccessKey},
		{"secret_access_key", c.references.secretKey, &c.Target.SecretKey},
		{"session_token", c.references.sessionToken, &c.Target.SessionToken},
	} {
		if r.reference == "" {
			continue
		}
		secret, err := repo.ReadReference("option "+r.option, r.reference, getenv)
		if err != nil {
			return Usage(err)
		}
		*r.dst = secret
	}
	c.references = references{}
	return nil
}

func isReference(s string) bool {
	return len(s) > 4 && s[:4] == "env:" || len(s) > 5 && s[:5] == "file:"
}
