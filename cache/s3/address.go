package s3

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
)

// place is where the objects of a depot are.
type place struct {
	endpoint url.URL // of the bucket
	path     string  // below the endpoint, with a slash at its end: the bucket, if it is not part of the host, and the prefix
	prefix   string  // of the names of objects, with a slash at its end; "" is the whole bucket
	region   string
}

// placeOf returns the place of s3://BUCKET/PREFIX, at the service that the usual variables of AWS
// name. A service of its own address has buckets in the path, and Amazon's in the name of the host.
func placeOf(address string) (place, error) {
	rest, ours := strings.CutPrefix(address, "s3://")
	bucket, prefix, _ := strings.Cut(strings.TrimSuffix(rest, "/"), "/")
	if !ours || !regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`).MatchString(bucket) || !regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*)?$`).MatchString(prefix) {
		return place{}, fmt.Errorf("%q is not s3://BUCKET/PREFIX", address)
	}
	if prefix != "" {
		prefix += "/"
	}
	p := place{prefix: prefix, region: cmp.Or(os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"), "us-east-1")}
	if !regexp.MustCompile(`^[a-z0-9-]+$`).MatchString(p.region) {
		return place{}, errors.New("AWS_REGION: it is not the name of a region")
	}
	own := cmp.Or(os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL"))
	switch {
	case own != "":
		u, err := url.Parse(own)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
			return place{}, errors.New("AWS_ENDPOINT_URL: it must be a URL such as https://s3.example.com, without a user")
		}
		p.endpoint = url.URL{Scheme: u.Scheme, Host: u.Host}
		p.path = strings.TrimSuffix(u.Path, "/") + "/" + bucket + "/"
	case strings.Contains(bucket, "."): // Amazon's certificate is not for such a host
		p.endpoint, p.path = url.URL{Scheme: "https", Host: "s3." + p.region + ".amazonaws.com"}, "/"+bucket+"/"
	default:
		p.endpoint, p.path = url.URL{Scheme: "https", Host: bucket + ".s3." + p.region + ".amazonaws.com"}, "/"
	}
	return p, nil
}
