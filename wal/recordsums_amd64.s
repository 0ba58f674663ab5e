//go:build !purego

#include "textflag.h"

// func recordSums(data *byte, offsets *int32, sums *uint32, n int)
//
// The processor computes the checksum of eight bytes in three cycles, and begins another
// one in each of them: so it is at several records at a time where nothing makes it wait
// for the end of one, as the branches of a call would.
TEXT ·recordSums(SB), NOSPLIT, $0-32
	MOVQ data+0(FP), SI
	MOVQ offsets+8(FP), DI
	MOVQ sums+16(FP), DX
	MOVQ n+24(FP), R8
	TESTQ R8, R8
	JZ   done

record:
	MOVL (DI), R9
	ADDQ SI, R9        // where it begins
	MOVL (R9), R10
	SUBL $24, R10      // bytes behind its header
	MOVL $0xFFFFFFFF, AX
	LEAQ 24(R9), R11
	MOVL R10, R12
	SHRL $3, R12
	JZ   rest
	LEAQ (R11)(R12*8), R13
	NEGQ R12

words:
	CRC32Q (R13)(R12*8), AX
	INCQ   R12
	JNZ    words
	MOVQ   R13, R11

rest:
	// The last k bytes, less than eight: what the sum is so far is added to them, and
	// zeros before them change nothing.
	ANDL   $7, R10
	SHLL   $3, R10
	MOVQ   (R11), R12
	XORQ   AX, R12
	SHLQ   $8, R12
	MOVL   $56, CX
	SUBL   R10, CX
	SHLQ   CX, R12
	MOVL   R10, CX
	SHRQ   CX, AX
	XORL   R13, R13
	CRC32Q R12, R13
	XORL   R13, AX
	CRC32Q 0(R9), AX
	CRC32Q 8(R9), AX
	CRC32L 16(R9), AX
	NOTL   AX
	MOVL   AX, (DX)
	ADDQ   $4, DI
	ADDQ   $4, DX
	DECQ   R8
	JNZ    record

done:
	RET
