# Of the output of `go test ./...`: what failed, and where each goroutine of a test
# that timed out stands, a line for all that stand alike.
/^goroutine [0-9]+ .*:$/ {
	state = $0
	sub(/^goroutine [0-9]+ [^[]*/, "", state)
	sub(/:$/, "", state)
	where = ""; frames = 0; ours = 0; test = 0
	next
}
state != "" && /^(FAIL.*)?$/ {
	if (test) tests = tests state where "\n"
	else if (ours && !alike[state where]++) stand[++n] = state where
	state = ""
}
state != "" && (/^\t/ || /^created by/) { next }
state != "" && !/^FAIL/ {
	ours = ours || /caddy-apoxy\//
	test = test || /^testing\.tRunner/
	f = $0
	sub(/\([^()]*\)$/, "", f)
	sub(/^.*\//, "", f)
	if (++frames < 10) where = where " < " f
	next
}
/^ *--- FAIL|^FAIL|^panic: |^\t\tTest|DATA RACE/ { failed = failed $0 "\n" }
END {
	print "\nWhat failed, in short:"
	for (i = 1; i <= n; i++) printf "%d x %s\n", alike[stand[i]], stand[i]
	printf "%s%s", tests, failed
}
