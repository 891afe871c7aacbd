package inventory

// Lanes returns how many lanes of all projects are in use.
func (i *Inventory) Lanes() (n int) {
	for _, p := range i.projects {
		p.mu.Lock()
		n += len(p.lanes)
		p.mu.Unlock()
	}
	return n
}
