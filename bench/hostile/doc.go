// Package hostile measures what the requests of a stranger cost the API in
// processor time.
package hostile
