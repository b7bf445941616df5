//! Input that is none: files that are no text, tables that are no tables, a damaged journal or world, and servers that
//! answer something else than they should, or nothing. Each is told with its place, its cause and what to do next;
//! what was there before stays as it was.

mod files;
mod keepsakes;
mod server;
mod servers;
