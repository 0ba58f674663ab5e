package main

import "github.com/gpdedup/gpdedup/storage/target"

// Bucket has the flags that say how to get at the storage: an S3 bucket mostly. The
// keys have none, because everybody on the host sees a command line.
type Bucket struct {
	Endpoint      string `name:"endpoint" group:"bucket" placeholder:"URL" help:"Address of the S3 service; Amazon's if nothing is said. ($$AWS_ENDPOINT_URL_S3, $$AWS_ENDPOINT_URL)"`
	Region        string `name:"region" group:"bucket" placeholder:"NAME" help:"Region of the bucket; us-east-1 if nothing is said. ($$AWS_REGION, $$AWS_DEFAULT_REGION)"`
	CAFile        string `name:"ca-file" group:"bucket" placeholder:"FILE" help:"Certificates of the authorities to trust, instead of the system's. ($$AWS_CA_BUNDLE)"`
	PathStyle     *bool  `name:"path-style" group:"bucket" negatable:"" help:"Name the bucket in the path, or with --no-path-style in the host name, whatever the endpoint is known to want."`
	StorageClass  string `name:"storage-class" group:"bucket" placeholder:"CLASS" help:"Storage class for packs, or packs=CLASS,wal=CLASS."`
	LimitUpload   string `name:"limit-upload" group:"bucket" placeholder:"RATE" help:"Bytes per second that this process uploads at most, such as 20MB."`
	LimitDownload string `name:"limit-download" group:"bucket" placeholder:"RATE" help:"Bytes per second that this process downloads at most."`
	Concurrency   int    `name:"concurrency" group:"bucket" placeholder:"N" help:"Cores to use, and requests to a bucket at a time; as many as there are, at most 8, if nothing is said."`
}

// settle checks the flags and hands them on.
func (b *Bucket) settle(g *Globals) (err error) {
	g.target.Endpoint, g.target.Region, g.target.CAFile, g.target.PathStyle = b.Endpoint, b.Region, b.CAFile, b.PathStyle
	if b.StorageClass != "" {
		if g.target.StorageClass, err = target.ParseStorageClass(b.StorageClass); err != nil {
			return usageError("--storage-class: "+err.Error(), "")
		}
	}
	if b.LimitUpload != "" {
		if g.target.LimitUpload, err = target.ParseRate(b.LimitUpload); err != nil {
			return usageError("--limit-upload: "+err.Error(), "")
		}
	}
	if b.LimitDownload != "" {
		if g.target.LimitDownload, err = target.ParseRate(b.LimitDownload); err != nil {
			return usageError("--limit-download: "+err.Error(), "")
		}
	}
	if b.Concurrency < 0 || b.Concurrency > 1024 {
		return usageError("--concurrency: want a number from 1 to 1024", "")
	}
	g.concurrency = b.Concurrency
	return nil
}
