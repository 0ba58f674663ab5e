package s3

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// metadataLimit bounds a request for credentials: on a host that has no metadata
// service, nobody answers.
const metadataLimit = 3 * time.Second

// credentials returns what signs the requests: the keys of o, or else those found
// in the places, and in the order, in which Amazon's own tools look: variables, the
// shared files (with AWS_PROFILE), and the service that the platform has for it
// (web identity, containers, EC2). fixed ones do not change while we run.
func (o *Options) credentials() (creds *credentials.Credentials, fixed bool, err error) {
	switch {
	case o.AccessKey != "" && o.SecretKey != "":
		return credentials.NewStaticV4(o.AccessKey, o.SecretKey, o.SessionToken), true, nil
	case o.AccessKey != "" || o.SecretKey != "":
		return nil, false, fmt.Errorf("credentials: %w: an access key and its secret go together", ErrOptions)
	case o.SessionToken != "":
		return nil, false, fmt.Errorf("credentials: %w: a session token without its access key", ErrOptions)
	}
	// The variables do not change either.
	fixed = o.Getenv("AWS_ACCESS_KEY_ID") != "" && o.Getenv("AWS_SECRET_ACCESS_KEY") != ""
	return credentials.New(&chain{places: []place{
		{"AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", &credentials.EnvAWS{}},
		{"the shared files (~/.aws, AWS_PROFILE)", &credentials.FileAWSCredentials{}},
		{"the platform (web identity, container, EC2)", &credentials.IAM{
			Client: &http.Client{Timeout: metadataLimit}, Region: o.Region,
		}},
	}, noPlatform: strings.EqualFold(o.Getenv("AWS_EC2_METADATA_DISABLED"), "true") &&
		o.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE") == "" && o.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") == "" &&
		o.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI") == ""}), fixed, nil
}

// errCredentials: no place has credentials.
var errCredentials = errors.New("no credentials for the storage were found")

type place struct {
	name string
	credentials.Provider
}

// chain asks one place after the other. The client's own chain goes on without a
// signature when none has credentials, and says nothing of why.
type chain struct {
	places     []place
	noPlatform bool
	found      credentials.Provider
}

// RetrieveWithCredContext returns the first credentials that there are.
func (c *chain) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	places := c.places
	if c.noPlatform {
		places = places[:len(places)-1]
	}
	var whys []string
	for _, p := range places {
		v, err := p.RetrieveWithCredContext(cc)
		if err == nil && v.AccessKeyID != "" && v.SecretAccessKey != "" {
			c.found = p.Provider
			return v, nil
		}
		why := "none"
		if err != nil {
			why = err.Error()
		}
		whys = append(whys, p.name+": "+why)
	}
	return credentials.Value{}, fmt.Errorf("%w: %s", errCredentials, strings.Join(whys, "; "))
}

// Retrieve is RetrieveWithCredContext without a context.
func (c *chain) Retrieve() (credentials.Value, error) { return c.RetrieveWithCredContext(nil) }

// IsExpired reports whether the credentials must be asked for again.
func (c *chain) IsExpired() bool { return c.found == nil || c.found.IsExpired() }
