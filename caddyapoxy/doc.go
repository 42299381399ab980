// Package caddyapoxy holds every Caddy module of this build, one file each:
// configuration, life cycle and wiring. What they do is decided in the rooms
// they wire together; importing this package registers all of them.
//
// The way of a configuration:
//
//	Caddyfile ─▶ oneline.go ─▶ caddyfile_app.go, caddyfile_handler.go, expand.go ─▶ JSON
//	   │
//	   ▼
//	app.go: App ── settings.go, zone.go, networks.go, ratelimit.go, reserved.go
//	   │               warns of what will not work: ownsites.go, sitetargets.go,
//	   │               caa.go, sweep.go
//	   ▼
//	runtime.go: one for each store (store_bolt.go), over all reloads
//	   │   generations.go: which configuration is in force; live.go, livelog.go ask it
//	   ├─ stores.go: the open store ─▶ hosts.Table    inforce.go waits for it; verify.go looks it through
//	   │     └─ storage.go, storage_calls.go: Caddy's storage in that same store
//	   ├─ controller                   events.go: what became of a record
//	   ├─ domainconnect.Finder         domainconnect.go, and the key that signs links
//	   ├─ webhook.Sender               webhook.go; webhook_admin.go is what operators ask
//	   ├─ timeline.Recorder            timelines.go: which events a record's story has
//	   ├─ issuance.Scheduler           issuer.go (issuer_pki.go), manager.go, shown.go, edge.go
//	   ├─ dnsprovider.Server           dns.go; provider.go is its libdns face
//	   ├─ apiserver.Server             admin.go, runtime_api.go
//	   └─ dashboard.Dashboard          dashboard.go; dashboardsearch.go counts and finds records
//	tunnel.go, functions.go: hubs of agents and compiled functions, over all reloads, too
//
// The way of a visitor:
//
//	handshake ─▶ permission.go ─▶ the table; trouble.go
//	request   ─▶ handler.go: admission.go, proxied.go, redirect.go ─▶ target
//	             (backends.go: proxies whose upstreams records fill in)
//	             or redirecttarget.go, where a record is a redirect
//	set-up page ─▶ setuppage.go (caddyfile_setup.go) ─▶ setup.Site; setuplink.go makes links to it
//	both tell hints.go of what the controller may not know yet
//
// What the dashboard shows beside records: dashboardfacts.go, from their owners; survey.go
// has name servers asked; vitals.go counts over the last hour, examine.go has the doctor look
// from within.
//
// Beside them: command.go, command_shell.go, command_store.go,
// command_tunnel.go, command_function.go, command_domainconnect.go hook the command line in,
// metrics.go registers what the rooms count.
//
// Who holds which lock: Storage.mu whether its store is open, runtime.mu what libdns wrote, by zone;
// runtime.verifying one look through the whole store; generations.mu which are in force;
// edgeHost's the addresses that the edge's name had. What visitors pass takes none of
// them.
package caddyapoxy
