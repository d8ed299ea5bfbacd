// Package callpath says what a call costs with the client and the server of this
// repository, beside others that measure gRPC: the figures, the goals that they are held
// to, and their table. Its module bench measures them.
package callpath
