package sudo

// LineOf is Line for a command that was started so.
func LineOf(parent, args []string, home string, set func(string) bool) string {
	return line(command(parent, args), home, set)
}
