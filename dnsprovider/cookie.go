package dnsprovider

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"sync/atomic"
)

const (
	// clientCookieLen and serverCookieLen are how long a client's cookie is and
	// how long ours are (RFC 7873 section 4, RFC 9018 section 4); those of others
	// have 8 to 32 octets.
	clientCookieLen     = 8
	serverCookieLen     = 16
	leastServerCookie   = 8
	longestServerCookie = 32
	// cookieVersion is the only version that there is (RFC 9018 section 4.1).
	cookieVersion = 1
	// cookieOptionLen is how long the COOKIE option of an answer is.
	cookieOptionLen = 4 + clientCookieLen + serverCookieLen
	// cookieAge is how many seconds a server cookie is valid, cookieRenew after
	// how many its client gets a new one, cookieAhead how far in the future it may
	// have been made, by a server whose clock is ahead (RFC 9018 section 4.3).
	cookieAge   = 3600
	cookieRenew = 1800
	cookieAhead = 300
	// keyLife is for how many seconds cookies are made with one key; RFC 7873
	// section 7.1 wants at most 26 hours.
	keyLife = 86400
)

// cookieOK tells whether a COOKIE option's data can have n octets: a client's
// cookie alone or with a server's (RFC 7873 section 5.2.2).
func cookieOK(n int) bool {
	return n == clientCookieLen || n >= clientCookieLen+leastServerCookie && n <= clientCookieLen+longestServerCookie
}

// cookies makes and verifies server cookies (RFC 7873 in the form of RFC 9018).
// Each day of Unix time has a key of its own, derived from one secret. A cookie's
// timestamp tells which key it was made with, so that cookies stay valid for their
// hour over midnight, and servers that share the secret change keys together.
type cookies struct {
	secret [32]byte
	keys   atomic.Pointer[cookieKeys]
}

// cookieKeys are the keys of the day before, of the day, and of the day after, which a
// server with a clock ahead of ours uses already.
type cookieKeys struct {
	day  int64
	keys [3]sipKey
}

// key returns the key of cookies with the timestamp made, at most a day from now. Both
// are Unix seconds.
func (c *cookies) key(now, made int64) *sipKey {
	day := now / keyLife
	k := c.keys.Load()
	if k == nil || k.day != day {
		k = &cookieKeys{day, [3]sipKey{c.derive(day - 1), c.derive(day), c.derive(day + 1)}}
		c.keys.Store(k)
	}
	return &k.keys[made/keyLife-day+1]
}

func (c *cookies) derive(day int64) sipKey {
	mac := hmac.New(sha256.New, c.secret[:])
	mac.Write(binary.BigEndian.AppendUint64([]byte("DNS cookies of day "), uint64(day)))
	return newSipKey([16]byte(mac.Sum(nil)))
}

// cookieState is what a query's COOKIE option proves.
type cookieState uint8

const (
	// noCookie: there is no server cookie.
	noCookie cookieState = iota
	// badCookie: there is one that we did not make for the client's address, or
	// too long ago.
	badCookie
	// oldCookie: ours and valid, to be renewed. The client has got an answer at its
	// address.
	oldCookie
	// freshCookie: ours, valid and young.
	freshCookie
)

// verify reads a well-formed COOKIE option's data from the client at addr; now in
// Unix seconds.
func (c *cookies) verify(data []byte, addr netip.Addr, now int64) cookieState {
	if len(data) == clientCookieLen {
		return noCookie
	}
	if len(data) != clientCookieLen+serverCookieLen || data[clientCookieLen] != cookieVersion {
		return badCookie
	}
	// Serial number arithmetic, which goes on when 32 bits are over (RFC 1982).
	age := int64(int32(uint32(now) - binary.BigEndian.Uint32(data[12:])))
	if age > cookieAge || age < -cookieAhead ||
		cookieHash(c.key(now, now-age), data, addr) != binary.LittleEndian.Uint64(data[16:]) {
		return badCookie
	}
	if age > cookieRenew {
		return oldCookie
	}
	return freshCookie
}

// appendCookie appends to b the client's cookie with a new server cookie of ours
// for the client at addr.
func (c *cookies) appendCookie(b, client []byte, addr netip.Addr, now int64) []byte {
	at := len(b)
	b = append(b, client[:clientCookieLen]...)
	b = append(b, cookieVersion, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(now))
	return binary.LittleEndian.AppendUint64(b, cookieHash(c.key(now, now), b[at:], addr))
}

// cookieHash is the hash in a server cookie (RFC 9018 section 4.4): over the
// client's cookie, version, reserved octets and timestamp, the first 16 octets of
// data, and the client's address, which is no IPv4-mapped one.
func cookieHash(key *sipKey, data []byte, addr netip.Addr) uint64 {
	var b [32]byte
	copy(b[:16], data)
	if addr.Is4() {
		a := addr.As4()
		copy(b[16:], a[:])
		return key.sum(b[:20])
	}
	a := addr.As16()
	copy(b[16:], a[:])
	return key.sum(b[:])
}
