package doctor

// Readings returns the values of traits that doctor can find out, as name=value.
func Readings() (all []string) {
	for _, e := range entries() {
		for value := range e.Readings {
			if e.Takes != "" {
				all = append(all, e.Name+"="+value)
			}
		}
	}
	return all
}
