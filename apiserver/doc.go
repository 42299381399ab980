// Package apiserver serves DomainRecords in exactly the shape of the Kubernetes
// REST API, over a store: an http.Handler that knows nothing of Caddy, of DNS
// or of what the status means.
//
// The way of a request:
//
//	ServeHTTP  route.go ── negotiate.go, options.go
//	   │
//	   ├─ documents   discovery.go, openapi.go, openapispec.go, crd.go
//	   ├─ reviews     review.go, access.go, protobuf.go
//	   ├─ reads       read.go, list.go (listoptions.go, selector.go, index.go, listwriter.go),
//	   │              watch.go (watchopen.go, sink.go)
//	   └─ writes      body: codec.go, yaml.go, weighed before it is decoded: weigh.go
//	        │
//	        ├─ create.go, replace.go     a hostname that another record has
//	        ├─ update.go, patch.go       jsonpatch.go, jsonpointer.go, jsontree.go, nulls.go
//	        ├─ apply.go                  server-side apply; fields.go, presence.go
//	        ├─ bulk.go, bulkread.go      the same for a stream of many
//	        ├─ delete.go, revoke.go, certificate.go
//	        ▼
//	     write.go: load, change, commit, again on a conflict
//	        │      sizes.go, times.go, movers.go, agree.go, loops.go: what must hold; keys.go: where
//	        ▼
//	     the store ── splice.go puts the revision into what it holds
//	   ▼
//	respond.go, table.go     as JSON, table or metadata; damaged.go tells what is unreadable
//
// Who holds which lock: stripes has one for each record that is being written, so that
// writers of one record do not conflict over and over; what decides is the store's
// condition on the revision. shutdowns' guards the contexts that end with Close.
package apiserver
