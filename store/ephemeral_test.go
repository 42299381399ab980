package store_test

import (
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

func TestWhatStaysBehind(t *testing.T) {
	for key, stays := range map[string]bool{
		"nodes/n1": true, "mail/n1/n2": true, "members/n1": true, "storage-locks/x": true, "snapshot/filled": true, "identity/store": true,
		"domainrecords/nodes": false, "hostnames/nodes": false, "storage/acme/x": false, "ledger/x": false, "nodes": false, "": false,
	} {
		if store.Ephemeral(key) != stays {
			t.Errorf("%q: %v", key, !stays)
		}
	}
}
