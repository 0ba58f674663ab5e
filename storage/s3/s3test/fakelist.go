package s3test

import (
	"encoding/xml"
	"net/http"
	"slices"
	"strings"
	"time"
)

type listDocument struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	EncodingType          string
	IsTruncated           bool
	NextContinuationToken string         `xml:",omitempty"`
	Contents              []listEntry    `xml:",omitempty"`
	CommonPrefixes        []commonPrefix `xml:",omitempty"`
}

type listEntry struct {
	Key          string
	LastModified string
	Size         int
}

type commonPrefix struct{ Prefix string }

// list answers one page. A continuation token is the last key of the page before.
func (f *Fake) list(w http.ResponseWriter, r *http.Request, prefix string, fault Fault) {
	page := f.PageSize
	if page == 0 {
		page = 1000
	}
	q := r.URL.Query()
	after, delimiter := q.Get("continuation-token"), q.Get("delimiter")
	doc := listDocument{EncodingType: "url"}
	n, last := 0, ""
	for _, key := range f.visible(prefix) {
		name, folder := key, false
		if delimiter != "" {
			if head, _, cut := strings.Cut(key[len(prefix):], delimiter); cut {
				name, folder = prefix+head+delimiter, true
			}
		}
		if name <= after || name == last {
			continue
		}
		if n == page {
			doc.IsTruncated, doc.NextContinuationToken = true, last
			break
		}
		n, last = n+1, name
		if folder {
			doc.CommonPrefixes = append(doc.CommonPrefixes, commonPrefix{escape(name)})
			continue
		}
		f.mu.Lock()
		o := f.objects[key]
		f.mu.Unlock()
		doc.Contents = append(doc.Contents, listEntry{escape(key), o.time.UTC().Format(time.RFC3339Nano), len(o.data)})
	}
	body, err := xml.Marshal(doc)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/xml")
	if fault.Torn {
		_, _ = w.Write(body[:len(body)/2])
		w.(http.Flusher).Flush() //nolint:forcetypeassert // net/http's
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(body)
}

// visible returns the keys that a listing shows, sorted.
func (f *Fake) visible(prefix string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	hidden := make(map[string]bool)
	for i := len(f.order) - f.Late; i < len(f.order); i++ {
		if i >= 0 {
			hidden[f.order[i]] = true
		}
	}
	var keys []string
	for key := range f.objects {
		if strings.HasPrefix(key, prefix) && !hidden[key] {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}
