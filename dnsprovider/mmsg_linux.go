package dnsprovider

import (
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The batched system calls are made here rather than by golang.org/x/net, whose
// ReadBatch makes a net.Addr of each datagram's address, which WriteBatch turns back:
// here the octets that the kernel wrote are what it reads.
//
// They do not block, and the scheduler is not told of them: told, its monitor takes
// the core from each call that lasts over 20 µs, which a batch does, and gives it back,
// for a quarter of the processor time of an answer. What it costs is that a
// collection may begin as much later as a batch takes.

const (
	// batchSize is how many datagrams one call receives or sends at most.
	batchSize = 64
	// querySize is the longest query that is read.
	querySize = 4096
	// A little more than a query, and than an answer: buffers that lie a page
	// apart begin in the same few lines of the processor's cache.
	queryStride  = querySize + 192
	answerStride = udpPayload + 112
)

// mmsghdr is the kernel's struct mmsghdr.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// batch is what one loop receives and sends. All of it is reused; the headers
// point into the arrays below them.
type batch struct {
	raw       syscall.RawConn
	in, out   [batchSize]mmsghdr
	names     [batchSize]unix.RawSockaddrInet6 // or IPv4's, which is shorter
	queries   [batchSize * queryStride]byte
	answers   [batchSize * answerStride]byte
	inVec     [batchSize]unix.Iovec
	outVec    [batchSize]unix.Iovec
	oob       [batchSize][oobSize]byte
	oobLen    int // 0: nothing is said of where a datagram was sent to
	nin, nout int
	// What the last call came to. The calls are made by functions that are kept,
	// so that handing them to raw allocates nothing.
	first, sent                 int
	errno                       unix.Errno
	receiving, sending, waiting func(fd uintptr) bool
}

// newBatch makes the batch of a socket. destinations says that wantDestination
// was called for it.
func newBatch(conn *net.UDPConn, destinations bool) (*batch, error) {
	b := new(batch)
	var err error
	if b.raw, err = conn.SyscallConn(); err != nil {
		return nil, err
	}
	if destinations {
		b.oobLen = oobSize
	}
	for i := range batchSize {
		h := &b.in[i].hdr
		b.inVec[i].Base = &b.queries[i*queryStride]
		b.inVec[i].SetLen(querySize)
		h.Name, h.Iov = (*byte)(unsafe.Pointer(&b.names[i])), &b.inVec[i]
		h.SetIovlen(1)
		if destinations {
			h.Control = &b.oob[i][0]
		}
		b.out[i].hdr.Iov = &b.outVec[i]
		b.out[i].hdr.SetIovlen(1)
	}
	b.nin = batchSize
	b.receiving, b.sending, b.waiting = b.recvmmsg, b.sendmmsg, b.sendmmsgOrWait
	return b, nil
}

// receive waits for datagrams and reads what has arrived, at least one. An error
// is that of raw, or a unix.Errno.
func (b *batch) receive() error {
	for i := range b.nin { // the kernel wrote what it has used of them
		h := &b.in[i].hdr
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(b.oobLen)
	}
	b.nin, b.nout = 0, 0
	if err := b.raw.Read(b.receiving); err != nil {
		return err
	}
	if b.errno != 0 {
		b.nin = batchSize
		return b.errno
	}
	return nil
}

func (b *batch) recvmmsg(fd uintptr) bool {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.in[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			b.nin, b.errno = int(n), 0
			return true
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		}
		b.errno = errno
		return true
	}
}

// query is the i-th datagram, and whom it came from. It is nil if it did not fit,
// and if no answer could reach its sender.
func (b *batch) query(i int) ([]byte, netip.Addr) {
	name := &b.names[i]
	if b.in[i].hdr.Flags&unix.MSG_TRUNC != 0 || name.Port == 0 {
		return nil, netip.Addr{}
	}
	at := i * queryStride
	q := b.queries[at : at+int(b.in[i].n) : at+querySize]
	switch name.Family {
	case unix.AF_INET:
		return q, netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(name)).Addr)
	case unix.AF_INET6:
		return q, netip.AddrFrom16(name.Addr).Unmap()
	}
	return nil, netip.Addr{}
}

// answer is where the next answer is written.
func (b *batch) answer() []byte {
	at := b.nout * answerStride
	return b.answers[at : at : at+udpPayload]
}

// reply adds what answer was filled with as the answer to the i-th datagram.
func (b *batch) reply(i int, out []byte) {
	in, h, vec := &b.in[i].hdr, &b.out[b.nout].hdr, &b.outVec[b.nout]
	vec.Base = &out[0]
	vec.SetLen(len(out))
	h.Name, h.Namelen = in.Name, in.Namelen
	h.Control = nil
	h.SetControllen(0)
	if b.oobLen > 0 {
		if oob := replyFrom(b.oob[i][:in.Controllen]); oob != nil {
			h.Control = &oob[0]
			h.SetControllen(len(oob))
		}
	}
	b.nout++
}

// send sends the answers from the first on in one call and returns how many went
// out. An error is about the one after them, or that of raw.
func (b *batch) send(first int) (int, error) { return b.sendBy(b.sending, first) }

// sendWaiting is send once there is room in the send buffer, or the write
// deadline's error.
func (b *batch) sendWaiting(first int) (int, error) { return b.sendBy(b.waiting, first) }

func (b *batch) sendBy(call func(fd uintptr) bool, first int) (int, error) {
	b.first = first
	if err := b.raw.Write(call); err != nil {
		return 0, err
	}
	if b.errno != 0 {
		return 0, b.errno
	}
	return b.sent, nil
}

func (b *batch) sendmmsg(fd uintptr) bool {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&b.out[b.first])), uintptr(b.nout-b.first), unix.MSG_DONTWAIT, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		b.sent, b.errno = int(n), errno
		return true
	}
}

func (b *batch) sendmmsgOrWait(fd uintptr) bool {
	b.sendmmsg(fd)
	return b.errno != unix.EAGAIN
}
