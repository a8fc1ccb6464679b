/* SPDX-License-Identifier: GPL-2.0-or-later */
/* As much of the kernel's lists as the state of MMU notifiers uses. */
#ifndef _HMM_SHIM_LINUX_LIST_H
#define _HMM_SHIM_LINUX_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

#define container_of(pointer, type, member)				\
	((type *)((char *)(pointer) - offsetof(type, member)))

static inline void INIT_LIST_HEAD(struct list_head *head)
{
	head->next = head;
	head->prev = head;
}

static inline void list_add(struct list_head *item, struct list_head *head)
{
	item->next = head->next;
	item->prev = head;
	head->next->prev = item;
	head->next = item;
}

/* Whoever uses the item afterwards crashes, as in the kernel. */
static inline void __list_del_entry(struct list_head *item)
{
	item->next->prev = item->prev;
	item->prev->next = item->next;
	item->next = NULL;
	item->prev = NULL;
}

static inline bool list_empty(const struct list_head *head)
{
	return head->next == head;
}

#define list_last_entry(head, type, member)				\
	container_of((head)->prev, type, member)

#define list_for_each_entry(item, head, member)				\
	for (item = container_of((head)->next, __typeof__(*item), member); \
	     &item->member != (head);					\
	     item = container_of(item->member.next, __typeof__(*item), member))

#endif /* _HMM_SHIM_LINUX_LIST_H */
