/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a driver built outside of the tree relies on, in the way that its
 * configure script asks for it. A probe includes one header of the kernel: a
 * declaration that has moved out of its reach is lost to such a driver.
 */
#ifndef HMM_PROBE_H
#define HMM_PROBE_H

/* A call or an inline function of exactly this type, and a reference to it */
#define HAS_CALL(name, type...)						\
	_Static_assert(__builtin_types_compatible_p(typeof(name), type), \
		       #name " has another type");			\
	static typeof(type) *const call_##name __used = name

#define HAS_FIELD(struct_type, field, type...)				\
	_Static_assert(__builtin_types_compatible_p(			\
		       typeof(((struct_type *)0)->field), type),	\
		       #field " has another type")

#define HAS_VALUE(constant, value)					\
	_Static_assert((constant) == (value), #constant " has another value")

#endif
