package lookup

// Lanes returns how many lanes of a project are in use.
func (p *Project) Lanes() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.lanes)
}
