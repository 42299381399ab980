// Package domainconnect lets customers create their DNS records with one click where
// their DNS provider supports Domain Connect: it finds out whether it does, signs the
// link, and writes the template that providers are given. It knows no controller, no
// zone and no Caddy. The rules are those of the public specification
// (draft-ietf-dconn-domainconnect; community version "Domain Connect Spec Draft"), the
// synchronous flow alone.
//
//	finder.go: Offer, from memory, at every look   ──▶ workers, few ──▶ OnFound
//	                                                     │
//	discover.go: _domainconnect TXT, settings, template  ◀┘
//	   │
//	   ├─ settings.go      what providers answer, read strictly
//	   └─ transport.go     whom they may have us contact
//
//	request.go: which records a link is for  ──▶ apply.go: the signed URL
//	key.go: the key pair, its TXT records; keystore.go: kept once for all nodes
//	template.go, lint.go: the template
//
// Finder.mu guards what is asked for and awaited; it is held during no question.
package domainconnect
