# One stub of 16 bytes per exception: it levels the stack (an error code where the processor pushes none) and
# hands the frame to Rust, which does not come back. So nothing needs saving.

.text
.balign 16
.global exception_stubs
exception_stubs:
.set vector, 0
.rept 32
    .balign 16
    # The exceptions with an error code (Intel SDM 3A, table 6-1; AMD APM 2, 8.2.25): 8, 10-14, 17, 21, 29, 30.
    .if !((0x60227d00 >> vector) & 1)
    pushq $0
    .endif
    pushq $vector
    jmp exception_common
    .set vector, vector + 1
.endr

exception_common:
    cld
    movq %rsp, %rdi
    andq $-16, %rsp
    call {exception}
    ud2
