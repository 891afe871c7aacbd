package inventory

// Changes is a number that grows whenever HSS is seen to have changed its mind
// about an image that is remembered.
func (i *Inventory) Changes() uint64 { return i.cache.changes.Load() }

// saysWhat tells whether an answer says what another says.
func (a *answer) saysWhat(other *answer) bool {
	if a.found != other.found {
		return false
	}
	records, same := 0, true
	other.each(func(r *record) bool {
		records++
		same = a.has(r.isSame)
		return same
	})
	if !same {
		return false
	}
	a.each(func(*record) bool {
		records--
		return true
	})
	return records == 0
}
