//go:build !linux

package dnsprovider

import "net"

// loopBatches is for systems that receive and send many datagrams in one call.
func (s *Server) loopBatches(*net.UDPConn) bool { return false }
