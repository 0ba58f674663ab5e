package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/gpdedup/gpdedup/storage"
)

// answer returns what the server said, if err is that.
func answer(err error) (minio.ErrorResponse, bool) {
	var said minio.ErrorResponse
	ok := errors.As(err, &said)
	return said, ok
}

func isStatus(err error, status int) bool {
	said, ok := answer(err)
	return ok && said.StatusCode == status
}

// isAbsent reports whether the server says that there is no such object. That
// there is no such bucket is another thing.
func isAbsent(err error) bool {
	said, ok := answer(err)
	return ok && said.StatusCode == http.StatusNotFound && said.Code == "NoSuchKey"
}

// isUnanswered reports whether a request was sent, in part at least, and no answer
// came.
func isUnanswered(err error) bool {
	_, said := answer(err)
	var op *net.OpError
	dial := errors.As(err, &op) && op.Op == "dial"
	return !said && !dial && !errors.Is(err, errCredentials) && !errors.Is(err, context.Canceled)
}

// isRefusedCondition reports whether the server says that it does not know
// If-None-Match on a PUT.
func isRefusedCondition(err error) bool {
	said, ok := answer(err)
	return ok && (said.StatusCode == http.StatusNotImplemented || said.Code == "NotImplemented")
}

// refusal is an error that trying again does not change, in words for who set the
// place up.
type refusal struct {
	text, hint string
	kind, err  error
}

func (r *refusal) Error() string   { return r.text }
func (r *refusal) Hint() string    { return r.hint }
func (r *refusal) Permanent() bool { return true }
func (r *refusal) Unwrap() []error {
	if r.kind == nil {
		return []error{r.err}
	}
	return []error{r.kind, r.err}
}

// passing is an error that may pass, in words.
type passing struct {
	text, hint string
	err        error
}

func (p *passing) Error() string { return p.text }
func (p *passing) Hint() string  { return p.hint }
func (p *passing) Unwrap() error { return p.err }

// classify turns what went wrong into what storage promises.
func (s *Store) classify(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return ctx.Err()
	}
	if said, ok := answer(err); ok {
		return s.classifyAnswer(op, said, err)
	}
	for _, own := range []error{
		storage.ErrExists, storage.ErrShort, storage.ErrTooLong, storage.ErrInvalidKey, storage.ErrNotExist,
	} {
		if errors.Is(err, own) {
			return err
		}
	}
	return s.classifyConnection(err)
}

// classifyAnswer is about what the server said.
func (s *Store) classifyAnswer(op string, said minio.ErrorResponse, err error) error {
	refuse := func(kind error, text, hint string) error {
		return &refusal{text: text, hint: hint, kind: kind, err: err}
	}
	what := said.Code
	if said.Message != "" && said.Message != said.Code {
		what += ": " + strings.TrimSuffix(said.Message, ".")
	}
	if what == "" {
		what = http.StatusText(said.StatusCode)
	}
	switch said.Code {
	case "NoSuchKey":
		if said.StatusCode == http.StatusNotFound {
			return storage.ErrNotExist
		}
	case "NoSuchBucket":
		return refuse(storage.ErrNoPlace, fmt.Sprintf("there is no bucket %s at %s", s.bucket, s.endpoint),
			"make the bucket, or correct its name in the location, or the endpoint")
	case "InvalidAccessKeyId", "InvalidClientTokenId", "InvalidToken", "UnrecognizedClientException":
		return refuse(storage.ErrDenied, "the storage does not know the access key ("+what+")",
			"give access_key_id and secret_access_key (and session_token) that belong to "+s.endpoint+"; without them AWS_ACCESS_KEY_ID and so on count")
	case "SignatureDoesNotMatch":
		return refuse(storage.ErrDenied, "the storage refuses the signature ("+what+")",
			"the secret does not belong to the access key, or a proxy changes requests on their way: give the right secret_access_key")
	case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired":
		return s.expired(what, err)
	case "RequestTimeTooSkewed":
		return refuse(storage.ErrDenied, "the storage refuses the request because the clocks differ ("+what+s.skewText()+")",
			"set this host's clock, with chrony or ntpd")
	case "AccessDenied", "AllAccessDisabled", "AccountProblem":
		return s.denied(op, what, err)
	case "AuthorizationHeaderMalformed", "PermanentRedirect", "InvalidRegion", "IllegalLocationConstraintException":
		hint := "give the bucket's own region (region, --region) and endpoint"
		if said.Region != "" {
			hint = "the bucket is in region " + said.Region + ": say so with region or --region"
		}
		return refuse(storage.ErrDenied, "the bucket is in another region or at another endpoint ("+what+")", hint)
	case "QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity", "EntityTooLargeForQuota", "NoSpaceLeftOnDevice", "StorageFull":
		return refuse(storage.ErrNoSpace, s.Location()+": "+storage.ErrNoSpace.Error()+" ("+what+")",
			"free space, or raise the quota; what was stored before is not harmed")
	case "InvalidStorageClass":
		return refuse(storage.ErrDenied, "the storage does not know the storage class ("+what+")", "correct storage_class")
	case "InvalidObjectState":
		return refuse(storage.ErrDenied, "the object is archived ("+what+")",
			"bring it back from the archive first; repositories need storage classes that can be read at once")
	}
	switch {
	case said.StatusCode == http.StatusForbidden || said.StatusCode == http.StatusUnauthorized:
		return s.denied(op, what, err)
	case said.StatusCode == http.StatusNotImplemented:
		return refuse(storage.ErrDenied, "the storage cannot do what is asked for ("+what+")", "see what 'gpdedup repo probe' says of it")
	case said.StatusCode == http.StatusMovedPermanently || said.StatusCode == http.StatusTemporaryRedirect:
		return refuse(storage.ErrDenied, "the bucket is at another endpoint ("+what+")", "give the bucket's own endpoint and region")
	case said.StatusCode == http.StatusBadRequest && isAboutTLS(what):
		return refuse(storage.ErrDenied, s.endpoint+" speaks TLS", "write the endpoint with https://")
	case said.StatusCode == http.StatusInsufficientStorage:
		return refuse(storage.ErrNoSpace, s.Location()+": "+storage.ErrNoSpace.Error(), "free space, or raise the quota")
	}
	text := fmt.Sprintf("the storage answers %d (%s)", said.StatusCode, what)
	if said.StatusCode == http.StatusBadRequest && !passes[said.Code] {
		return refuse(storage.ErrDenied, text, "see what 'gpdedup repo probe' says of the storage")
	}
	// All else may pass: 5xx, SlowDown, 409 ConditionalRequestConflict, and what a
	// later server may say.
	return &passing{text: text, err: err}
}

// passes has what is answered with status 400 and yet may go well the next time:
// bytes that changed or went missing on their way.
var passes = map[string]bool{
	"BadDigest": true, "XAmzContentSHA256Mismatch": true, "IncompleteBody": true, "RequestTimeout": true,
	"XMinioChecksumMismatch": true, "InvalidDigest": true,
}

func isAboutTLS(what string) bool {
	return strings.Contains(what, "HTTP request to an HTTPS server") || strings.Contains(what, "plain HTTP request was sent to HTTPS port")
}

// denied is a permission that is missing.
func (s *Store) denied(op, what string, err error) error {
	r := &refusal{
		text: fmt.Sprintf("the storage refuses to %s in %s (%s)", verb[op], s.Location(), what), kind: storage.ErrDenied, err: err,
		hint: "the access key needs " + permission[op] + " there; docs/s3.md has the policies",
	}
	if op == "put" {
		r.kind = storage.ErrReadOnly
	}
	return r
}

var (
	verb = map[string]string{
		"put": "write", "read": "read", "get": "read", "stat": "read", "list": "list", "delete": "delete",
	}
	permission = map[string]string{
		"put": "s3:PutObject", "read": "s3:GetObject", "list": "s3:ListBucket", "delete": "s3:DeleteObject",
		// Who may not list is not told that an object is absent.
		"get": "s3:GetObject and s3:ListBucket", "stat": "s3:GetObject and s3:ListBucket",
	}
)

// expired is for credentials that are over. Those that can be renewed are, once.
func (s *Store) expired(what string, err error) error {
	if !s.fixed && s.renewed.CompareAndSwap(false, true) {
		s.creds.Expire()
		return fmt.Errorf("the credentials have expired (%s)", what)
	}
	return &refusal{
		text: "the credentials have expired (" + what + ")", kind: storage.ErrDenied, err: err,
		hint: "get new ones; keys without a session token, or a role of the host, do not expire in mid backup",
	}
}

func (s *Store) skewText() string {
	skew, known := s.ClockSkew()
	if !known {
		return ""
	}
	if skew < 0 {
		return fmt.Sprintf("; the storage's is %s behind", -skew.Round(time.Second))
	}
	return fmt.Sprintf("; the storage's is %s ahead", skew.Round(time.Second))
}

// ClockSkew is the server's clock less this host's, as the last answer had it, and
// whether there was one. Its precision is a second.
func (s *Store) ClockSkew() (time.Duration, bool) {
	return time.Duration(s.transport.skew.Load()), s.transport.heard.Load()
}

// classifyConnection is about requests that got no answer, or not all of it.
func (s *Store) classifyConnection(err error) error {
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		verify   *tls.CertificateVerificationError
		record   tls.RecordHeaderError
		dns      *net.DNSError
		dial     *net.OpError
	)
	refuse := func(text, hint string) error { return &refusal{text: text, hint: hint, err: err} }
	switch {
	case errors.Is(err, errCredentials):
		return &refusal{
			text: err.Error(), kind: storage.ErrDenied, err: err,
			hint: "give access_key_id and secret_access_key (in the YAML by reference), or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
		}
	case errors.As(err, &unknown):
		return refuse("the certificate of "+s.endpoint+" is signed by an authority that this host does not know",
			"give the authority's certificate with ca_file or --ca-file")
	case errors.As(err, &hostname):
		return refuse("the certificate of "+s.endpoint+" is for another name: "+hostname.Error(),
			"use the name in the certificate as the endpoint, or path_style if the bucket's name is what does not fit")
	case errors.As(err, &invalid), errors.As(err, &verify):
		return refuse("the certificate of "+s.endpoint+" is not valid: "+err.Error(), "renew it, or set this host's clock")
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return refuse(s.endpoint+" does not speak TLS", "write the endpoint with http:// if that is meant, or give the port that speaks TLS")
	case errors.As(err, &dns) && dns.IsNotFound:
		return refuse("there is no host "+dns.Name, "correct the endpoint, or use path_style if only the bucket's own host name is missing")
	case errors.As(err, &dial) && dial.Op == "dial":
		return &passing{
			text: "cannot connect to " + s.endpoint + ": " + cause(dial).Error(), err: err,
			hint: "is the endpoint right, is the server up, and may this host connect to it?",
		}
	case errors.Is(err, errForeign):
		return &passing{
			text: s.endpoint + ": " + err.Error(), err: err,
			hint: "is the endpoint that of the S3 service, and not of its console or of a proxy?",
		}
	}
	return err
}

// cause is what the system said, without the addresses.
func cause(err *net.OpError) error {
	var inner error = err
	for {
		next := errors.Unwrap(inner)
		if next == nil {
			return inner
		}
		inner = next
	}
}
