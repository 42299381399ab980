// Package dashboard is what operators and support people look at: pages over the
// records, from which one sees what all domains are doing and who must do what. Pages are
// made on the server and work without a script. It reads and writes records through the
// API alone, so that it shows the same and obeys the same rules; all else it is told by
// Facts. It knows nothing of Caddy, DNS or certificates.
package dashboard
