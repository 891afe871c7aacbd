package scan

// Sent returns how many calls are remembered.
func (s *Scans) Sent() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sent)
}
