/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Included before everything else when 7.3's own nouveau_dmem.c is compiled
 * for the tests: its buffer objects are the fake GPU's, which also knows which
 * page shift it meant.
 */
#ifndef __NOUVEAU_SVM_STOCK_H__
#define __NOUVEAU_SVM_STOCK_H__

#define nouveau_bo_new_pin	fake_stock_bo_new_pin
#define nouveau_bo_pin		fake_stock_bo_pin
#define nouveau_bo_unpin	fake_stock_bo_unpin
#define nouveau_bo_unpin_del	fake_stock_bo_unpin_del
#define nouveau_pfns_map	fake_stock_pfns_map

#endif
