// Package setup is the page that a customer sets a hostname up by: which DNS records to
// create, in which order, in the form that the DNS provider asks for, and what was seen
// of each so far. A platform hands out a signed link to it, which opens the page of one
// record for some time. It shows what the customer needs and nothing else of the record.
//
//	POST …/setuplink ─▶ token.go: Sign, with the key that key.go keeps in the store
//	request ─▶ serve.go ─▶ token.go: Verify ─▶ the record, read through Records
//	                └▶ live.go: tells an open page when the record has changed
//	record ─▶ facts.go, steps.go (what is done, what is next) ─▶ view.go, card.go, letter.go
//	       ─▶ page.html, in the words of words.go (messages/) and the colours of brand.go
//
// site.go, options.go and messages.go check what the operator configures; provider.go is what is
// known of the customer's DNS provider.
//
// It knows nothing of Caddy, of how DNS is looked at and of certificates. Site.mu guards
// the streams that are open, Keys.mu the key as it was last read.
package setup
