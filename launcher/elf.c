// SPDX-License-Identifier: GPL-2.0-only
#include "elf.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"

/* Linux has 520 bytes of notes; a build with many stays far below this. */
#define NOTES_MAX (64 * KIB)

bool elf_recognize(const uint8_t *head, uint64_t len)
{
	return len >= SELFMAG && !memcmp(head, ELFMAG, SELFMAG);
}

static int damaged(const struct image *image, const char *how)
{
	return error_set("%s: a damaged ELF file: %s; build or fetch it again", image->path, how);
}

static void take_segment32(struct elf_segment *to, const Elf32_Phdr *from)
{
	*to = (struct elf_segment){ from->p_type, from->p_offset, from->p_paddr, from->p_filesz,
				    from->p_memsz, from->p_align };
}

static void take_segment64(struct elf_segment *to, const Elf64_Phdr *from)
{
	*to = (struct elf_segment){ from->p_type, from->p_offset, from->p_paddr, from->p_filesz,
				    from->p_memsz, from->p_align };
}

static int read_segments(const struct image *image, struct elf *elf, uint64_t offset,
			 unsigned int count, unsigned int entry_size)
{
	uint64_t size = elf->is64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
	union {
		Elf32_Phdr p32;
		Elf64_Phdr p64;
	} phdr;

	if (!count || count > ELF_SEGMENTS_MAX)
		return damaged(image, "it has no program headers, or more than 64");
	if (entry_size != size)
		return damaged(image, "its program headers have an unknown size");
	if (offset > image->size)	/* so that the sum below does not wrap */
		return damaged(image, "its program headers lie beyond its end");
	for (unsigned int i = 0; i < count; i++) {
		if (image_read(image, offset + i * size, &phdr, size))
			return -1;
		if (elf->is64)
			take_segment64(&elf->segments[i], &phdr.p64);
		else
			take_segment32(&elf->segments[i], &phdr.p32);
	}
	elf->nr_segments = count;
	return 0;
}

static int parse64(const struct image *image, struct elf *elf)
{
	Elf64_Ehdr ehdr;

	if (image_read(image, 0, &ehdr, sizeof(ehdr)))
		return -1;
	if (ehdr.e_machine != EM_X86_64)
		return error_set("%s: an ELF file for another machine; give one for x86-64",
				 image->path);
	elf->entry = ehdr.e_entry;
	return read_segments(image, elf, ehdr.e_phoff, ehdr.e_phnum, ehdr.e_phentsize);
}

static int parse32(const struct image *image, struct elf *elf)
{
	Elf32_Ehdr ehdr;

	if (image_read(image, 0, &ehdr, sizeof(ehdr)))
		return -1;
	if (ehdr.e_machine != EM_386)
		return error_set("%s: an ELF file for another machine; give one for i386",
				 image->path);
	elf->entry = ehdr.e_entry;
	return read_segments(image, elf, ehdr.e_phoff, ehdr.e_phnum, ehdr.e_phentsize);
}

int elf_parse(const struct image *image, struct elf *elf)
{
	uint8_t ident[EI_NIDENT];

	memset(elf, 0, sizeof(*elf));
	if (image_read(image, 0, ident, sizeof(ident)))
		return -1;
	if (ident[EI_DATA] != ELFDATA2LSB)
		return error_set("%s: a big-endian ELF file; give one for x86", image->path);
	switch (ident[EI_CLASS]) {
	case ELFCLASS32:
		return parse32(image, elf);
	case ELFCLASS64:
		elf->is64 = true;
		return parse64(image, elf);
	default:
		return damaged(image, "neither 32 nor 64 bits");
	}
}

static int load_segment(const struct image *image, const struct elf_segment *segment,
			struct guest_memory *memory)
{
	if (segment->file_size > segment->memory_size)
		return damaged(image, "a segment is larger in the file than in memory");
	if (!segment->memory_size)
		return 0;
	/* The rest of the segment is zero already: memory is fresh and claimed once. */
	if (guest_claim(memory, segment->paddr, segment->memory_size, "the kernel", image->path))
		return -1;
	return image_read(image, segment->offset,
			  guest_ptr(memory, segment->paddr, segment->memory_size),
			  segment->file_size);
}

int elf_load(const struct image *image, const struct elf *elf, struct guest_memory *memory)
{
	unsigned int loaded = 0;

	for (unsigned int i = 0; i < elf->nr_segments; i++) {
		if (elf->segments[i].type != PT_LOAD)
			continue;
		if (load_segment(image, &elf->segments[i], memory))
			return -1;
		loaded++;
	}
	return loaded ? 0 : damaged(image, "nothing in it is to be loaded");
}

bool elf_contains(const struct elf *elf, uint64_t gpa)
{
	for (unsigned int i = 0; i < elf->nr_segments; i++) {
		const struct elf_segment *segment = &elf->segments[i];

		if (segment->type == PT_LOAD && gpa >= segment->paddr &&
		    gpa - segment->paddr < segment->memory_size)
			return true;
	}
	return false;
}

/* Walks one segment of notes in @notes. Same returns as elf_find_note(). */
static int scan_notes(const uint8_t *notes, uint64_t size, const char *owner, uint32_t type,
		      void *desc, uint32_t desc_size)
{
	uint64_t at = 0;

	while (size - at >= sizeof(Elf32_Nhdr)) {
		Elf32_Nhdr note;	/* Elf64_Nhdr has the same layout */
		uint64_t name_at, desc_at;

		memcpy(&note, notes + at, sizeof(note));
		name_at = at + sizeof(note);
		desc_at = name_at + align_up(note.n_namesz, 4);
		if (desc_at > size || note.n_descsz > size - desc_at)
			return -1;
		if (note.n_type == type && note.n_namesz == strlen(owner) + 1 &&
		    !memcmp(notes + name_at, owner, note.n_namesz)) {
			memcpy(desc, notes + desc_at,
			       note.n_descsz < desc_size ? note.n_descsz : desc_size);
			return (int)(note.n_descsz < NOTES_MAX ? note.n_descsz : NOTES_MAX);
		}
		at = min_u64(desc_at + align_up(note.n_descsz, 4), size);
	}
	return 0;
}

static int search_segment(const struct image *image, const struct elf_segment *segment,
			  const char *owner, uint32_t type, void *desc, uint32_t size)
{
	uint8_t *notes;
	int found;

	if (segment->file_size > NOTES_MAX)
		return damaged(image, "more than 64 KiB of notes");
	notes = malloc(segment->file_size + 1);
	if (!notes)
		return error_set("%s: out of memory for its notes; free some", image->path);
	found = image_read(image, segment->offset, notes, segment->file_size);
	if (!found) {
		found = scan_notes(notes, segment->file_size, owner, type, desc, size);
		if (found < 0)
			damaged(image, "a note runs over the end of its segment");
	}
	free(notes);
	return found;
}

int elf_find_note(const struct image *image, const struct elf *elf, const char *owner,
		  uint32_t type, void *desc, uint32_t size)
{
	for (unsigned int i = 0; i < elf->nr_segments; i++) {
		int found;

		if (elf->segments[i].type != PT_NOTE)
			continue;
		found = search_segment(image, &elf->segments[i], owner, type, desc, size);
		if (found)
			return found;
	}
	return 0;
}
