package apiserver

import (
	"fmt"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// Prefixes of the keys in the store that this package writes, beside
// ownership.ReleasedPrefix. The controller writes below recordPrefix too, but only the
// status of records that exist.
const (
	// recordPrefix, followed by metadata.name, keeps the record as JSON.
	recordPrefix = v1alpha3.Resource + "/"
	// HostnamePrefix, followed by spec.name, keeps the metadata.name of the
	// record that holds the hostname.
	HostnamePrefix = "hostnames/"
)

func recordKey(name string) string   { return recordPrefix + name }
func hostnameKey(host string) string { return HostnamePrefix + host }

func formatRevision(rev int64) string { return strconv.FormatInt(rev, 10) }

// parseRevision reads a resourceVersion parameter; empty and "0" are 0.
func parseRevision(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, apierrors.NewBadRequest(fmt.Sprintf("resourceVersion: Invalid value: %.64q: must be one that this server gave", s))
	}
	return n, nil
}
