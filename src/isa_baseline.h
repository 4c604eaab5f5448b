/* What every processor of the build's architecture has. Included by the tiny files that compile a family of
 * kernels once per instruction set. */
#define FE_ISA baseline
#define FE_TARGET
