//go:build !purego

#include "textflag.h"

// What a hash begins with.
DATA iv<>+0(SB)/8, $0xBB67AE856A09E667
DATA iv<>+8(SB)/8, $0xA54FF53A3C6EF372
DATA iv<>+16(SB)/8, $0x9B05688C510E527F
DATA iv<>+24(SB)/8, $0x5BE0CD191F83D9AB
GLOBL iv<>(SB), RODATA|NOPTR, $32

// What VPERMT2D takes for every second of 32 words.
DATA even<>+0(SB)/8, $0x0000000200000000
DATA even<>+8(SB)/8, $0x0000000600000004
DATA even<>+16(SB)/8, $0x0000000A00000008
DATA even<>+24(SB)/8, $0x0000000E0000000C
DATA even<>+32(SB)/8, $0x0000001200000010
DATA even<>+40(SB)/8, $0x0000001600000014
DATA even<>+48(SB)/8, $0x0000001A00000018
DATA even<>+56(SB)/8, $0x0000001E0000001C
GLOBL even<>(SB), RODATA|NOPTR, $64

DATA odd<>+0(SB)/8, $0x0000000300000001
DATA odd<>+8(SB)/8, $0x0000000700000005
DATA odd<>+16(SB)/8, $0x0000000B00000009
DATA odd<>+24(SB)/8, $0x0000000F0000000D
DATA odd<>+32(SB)/8, $0x0000001300000011
DATA odd<>+40(SB)/8, $0x0000001700000015
DATA odd<>+48(SB)/8, $0x0000001B00000019
DATA odd<>+56(SB)/8, $0x0000001F0000001D
GLOBL odd<>(SB), RODATA|NOPTR, $64

// Sixteen chunks lie side by side in a register, a word of each. Z0 to Z15 are the state of
// BLAKE3's compression function, Z16 to Z31 the sixteen words of a block; so there is no
// register to spare, and none needed: what is rotated is rotated in its place.

// STEP is half of four G: a += b + m; d = (d ^ a) >>> r1; c += d; b = (b ^ c) >>> r2.
// a is Z0 to Z3 always.
#define STEP(r1, r2, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3, m0, m1, m2, m3) \
	VPADDD b0, Z0, Z0    \
	VPADDD b1, Z1, Z1    \
	VPADDD b2, Z2, Z2    \
	VPADDD b3, Z3, Z3    \
	VPADDD m0, Z0, Z0    \
	VPADDD m1, Z1, Z1    \
	VPADDD m2, Z2, Z2    \
	VPADDD m3, Z3, Z3    \
	VPXORD Z0, d0, d0    \
	VPXORD Z1, d1, d1    \
	VPXORD Z2, d2, d2    \
	VPXORD Z3, d3, d3    \
	VPRORD r1, d0, d0    \
	VPRORD r1, d1, d1    \
	VPRORD r1, d2, d2    \
	VPRORD r1, d3, d3    \
	VPADDD d0, c0, c0    \
	VPADDD d1, c1, c1    \
	VPADDD d2, c2, c2    \
	VPADDD d3, c3, c3    \
	VPXORD c0, b0, b0    \
	VPXORD c1, b1, b1    \
	VPXORD c2, b2, b2    \
	VPXORD c3, b3, b3    \
	VPRORD r2, b0, b0    \
	VPRORD r2, b1, b1    \
	VPRORD r2, b2, b2    \
	VPRORD r2, b3, b3

// COLUMNS and DIAGONALS are the halves of a round: first the words x of the message, then y.
#define COLUMNS(x0, x1, x2, x3, y0, y1, y2, y3) \
	STEP($16, $12, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15, x0, x1, x2, x3) \
	STEP($8, $7, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15, y0, y1, y2, y3)

#define DIAGONALS(x0, x1, x2, x3, y0, y1, y2, y3) \
	STEP($16, $12, Z5, Z6, Z7, Z4, Z10, Z11, Z8, Z9, Z15, Z12, Z13, Z14, x0, x1, x2, x3) \
	STEP($8, $7, Z5, Z6, Z7, Z4, Z10, Z11, Z8, Z9, Z15, Z12, Z13, Z14, y0, y1, y2, y3)

// ROWS loads four chunks' blocks, 16 words each, and transposes them as far as goes
// within 128 bits: those of register w then hold the words w, w+4, w+8 and w+12.
#define ROWS(a, b, c, d) \
	VMOVDQU32   (R10), a         \
	VMOVDQU32   (R10)(R8*1), b   \
	VMOVDQU32   (R10)(R8*2), c   \
	VMOVDQU32   (R10)(R9*1), d   \
	VPUNPCKLDQ  b, a, Z8         \
	VPUNPCKHDQ  b, a, Z9         \
	VPUNPCKLDQ  d, c, Z10        \
	VPUNPCKHDQ  d, c, Z11        \
	VPUNPCKLQDQ Z10, Z8, a       \
	VPUNPCKHQDQ Z10, Z8, b       \
	VPUNPCKLQDQ Z11, Z9, c       \
	VPUNPCKHQDQ Z11, Z9, d

// ACROSS transposes the 128-bit parts of four registers.
#define ACROSS(a, b, c, d) \
	VSHUFI32X4 $0x88, b, a, Z8    \
	VSHUFI32X4 $0xDD, b, a, Z9    \
	VSHUFI32X4 $0x88, d, c, Z10   \
	VSHUFI32X4 $0xDD, d, c, Z11   \
	VSHUFI32X4 $0x88, Z10, Z8, a  \
	VSHUFI32X4 $0x88, Z11, Z9, b  \
	VSHUFI32X4 $0xDD, Z10, Z8, c  \
	VSHUFI32X4 $0xDD, Z11, Z9, d

// CONSTANTS fills the state's second half, but for the counter.
#define CONSTANTS \
	VPBROADCASTD 0(BX), Z8        \
	VPBROADCASTD 4(BX), Z9        \
	VPBROADCASTD 8(BX), Z10       \
	VPBROADCASTD 12(BX), Z11      \
	VPXORD       Z13, Z13, Z13    \
	MOVL         $64, AX          \
	VPBROADCASTD AX, Z14          \
	VPBROADCASTD R12, Z15

// KEY fills its first half with what an unkeyed hash begins with.
#define KEY \
	VPBROADCASTD 0(BX), Z0  \
	VPBROADCASTD 4(BX), Z1  \
	VPBROADCASTD 8(BX), Z2  \
	VPBROADCASTD 12(BX), Z3 \
	VPBROADCASTD 16(BX), Z4 \
	VPBROADCASTD 20(BX), Z5 \
	VPBROADCASTD 24(BX), Z6 \
	VPBROADCASTD 28(BX), Z7

// ROUNDS are the seven rounds, each with the message's words in its order.
#define ROUNDS \
	COLUMNS(Z16, Z18, Z20, Z22, Z17, Z19, Z21, Z23) \
	DIAGONALS(Z24, Z26, Z28, Z30, Z25, Z27, Z29, Z31) \
	COLUMNS(Z18, Z19, Z23, Z20, Z22, Z26, Z16, Z29) \
	DIAGONALS(Z17, Z28, Z25, Z31, Z27, Z21, Z30, Z24) \
	COLUMNS(Z19, Z26, Z29, Z23, Z20, Z28, Z18, Z30) \
	DIAGONALS(Z22, Z25, Z27, Z24, Z21, Z16, Z31, Z17) \
	COLUMNS(Z26, Z28, Z30, Z29, Z23, Z25, Z19, Z31) \
	DIAGONALS(Z20, Z27, Z21, Z17, Z16, Z18, Z24, Z22) \
	COLUMNS(Z28, Z25, Z31, Z30, Z29, Z27, Z26, Z24) \
	DIAGONALS(Z23, Z21, Z16, Z22, Z18, Z19, Z17, Z20) \
	COLUMNS(Z25, Z27, Z24, Z31, Z30, Z21, Z28, Z17) \
	DIAGONALS(Z29, Z16, Z18, Z20, Z19, Z26, Z22, Z23) \
	COLUMNS(Z27, Z21, Z17, Z24, Z31, Z16, Z25, Z22) \
	DIAGONALS(Z30, Z18, Z19, Z23, Z26, Z28, Z20, Z29) \
	VPXORD Z8, Z0, Z0 \
	VPXORD Z9, Z1, Z1 \
	VPXORD Z10, Z2, Z2 \
	VPXORD Z11, Z3, Z3 \
	VPXORD Z12, Z4, Z4 \
	VPXORD Z13, Z5, Z5 \
	VPXORD Z14, Z6, Z6 \
	VPXORD Z15, Z7, Z7

// func chunks16(out *uint32, row int, in *byte, counters *[16]uint32)
TEXT ·chunks16(SB), NOSPLIT, $0-32
	MOVQ out+0(FP), DI
	MOVQ row+8(FP), R14
	MOVQ in+16(FP), SI
	MOVQ counters+24(FP), DX
	MOVQ $1024, R8
	LEAQ (R8)(R8*2), R9
	LEAQ iv<>(SB), BX
	MOVL $16, CX
	MOVL $1, R12 // the beginning of a chunk
	KEY

block:
	CMPL CX, $1
	JNE  load
	MOVL $2, R12 // its end

load:
	MOVQ SI, R10
	ROWS(Z16, Z17, Z18, Z19)
	LEAQ (R10)(R8*4), R10
	ROWS(Z20, Z21, Z22, Z23)
	LEAQ (R10)(R8*4), R10
	ROWS(Z24, Z25, Z26, Z27)
	LEAQ (R10)(R8*4), R10
	ROWS(Z28, Z29, Z30, Z31)
	ACROSS(Z16, Z20, Z24, Z28)
	ACROSS(Z17, Z21, Z25, Z29)
	ACROSS(Z18, Z22, Z26, Z30)
	ACROSS(Z19, Z23, Z27, Z31)
	CONSTANTS
	VMOVDQU32 (DX), Z12
	ROUNDS
	XORL R12, R12
	ADDQ $64, SI
	DECL CX
	JNZ  block

	VMOVDQU32 Z0, (DI)
	ADDQ R14, DI
	VMOVDQU32 Z1, (DI)
	ADDQ R14, DI
	VMOVDQU32 Z2, (DI)
	ADDQ R14, DI
	VMOVDQU32 Z3, (DI)
	ADDQ R14, DI
	VMOVDQU32 Z4, (DI)
	ADDQ R14, DI
	VMOVDQU32 Z5, (DI)
	ADDQ R14, DI
	VMOVDQU32 Z6, (DI)
	ADDQ R14, DI
	VMOVDQU32 Z7, (DI)
	VZEROUPPER
	RET

// PAIR takes a word of sixteen left and of sixteen right nodes, which alternate.
#define PAIR(left, right) \
	VMOVDQU32 (SI), left       \
	VMOVDQA32 left, right      \
	VMOVDQU32 64(SI), Z8       \
	VPERMT2D  Z8, Z9, left     \
	VPERMT2D  Z8, Z10, right   \
	ADDQ      R14, SI

// func parents16(out *uint32, row int, in *uint32, flags uint32)
TEXT ·parents16(SB), NOSPLIT, $0-28
	MOVQ out+0(FP), DI
	MOVQ row+8(FP), R14
	MOVQ in+16(FP), SI
	MOVL flags+24(FP), R12
	LEAQ even<>(SB), AX
	LEAQ odd<>(SB), BX
	VMOVDQU32 (AX), Z9
	VMOVDQU32 (BX), Z10
	LEAQ iv<>(SB), BX
	KEY
	PAIR(Z16, Z24)
	PAIR(Z17, Z25)
	PAIR(Z18, Z26)
	PAIR(Z19, Z27)
	PAIR(Z20, Z28)
	PAIR(Z21, Z29)
	PAIR(Z22, Z30)
	PAIR(Z23, Z31)
	CONSTANTS
	VPXORD Z12, Z12, Z12
	ROUNDS
	VMOVDQU32 Z0, (DI)
	ADDQ R14, DI
	VMOVDQU32 Z1, (DI)
	ADDQ R14, DI
	VMOVDQU32 Z2, (DI)
	ADDQ R14, DI
	VMOVDQU32 Z3, (DI)
	ADDQ R14, DI
	VMOVDQU32 Z4, (DI)
	ADDQ R14, DI
	VMOVDQU32 Z5, (DI)
	ADDQ R14, DI
	VMOVDQU32 Z6, (DI)
	ADDQ R14, DI
	VMOVDQU32 Z7, (DI)
	VZEROUPPER
	RET
