//! The simulated Proxmox VE 9.2 API. It answers as the real one does: parameters are checked against its published
//! definition, privileges are demanded, writes that take time are tasks, property strings read back normalised. What is
//! not simulated says so.

mod access;
mod acl;
mod agent;
mod answer;
mod call;
mod checksum;
mod cloud_init;
mod cluster;
mod cluster_reads;
mod content;
mod corosync;
mod definition;
mod disks;
mod dispatch;
mod drive;
mod effects;
mod etc;
mod form;
mod formats;
mod found;
mod groups;
mod host_files;
pub(crate) mod http;
mod interfaces;
mod interfaces_write;
mod inventory;
mod login;
mod mapping;
mod members;
mod membership;
mod multipart;
mod network;
mod node_config;
mod nodes;
mod option_rights;
mod outside;
mod permission;
mod pools;
mod property;
#[cfg(test)]
mod published;
mod quorum;
mod roles;
mod scan;
mod shares;
mod storage;
pub(crate) mod storage_kind;
mod storage_state;
mod table;
mod tasks;
mod transfer;
mod twists;
mod users;
mod verify;
mod vm;
mod vm_clone;
mod vm_create;
mod vm_disks;
mod vm_migrate;
mod vm_power;
mod vm_read;
mod vm_update;
mod volume;
mod volume_name;
mod wget;

#[cfg(test)]
pub(crate) use checksum::Sums;
#[cfg(test)]
pub(crate) use cluster::PciDevice;
pub(crate) use cluster::{Cluster, Restart};
#[cfg(test)]
pub(crate) use drive::{parse_size, size_text};
pub(crate) use found::{TOKEN, USER, found};
#[cfg(test)]
pub(crate) use interfaces::Interfaces;
pub(crate) use members::Life;
pub(crate) use membership::{Due, JoinOrder, admit};
#[cfg(test)]
pub(crate) use outside::{Address, Export, Server, Share, WebFile, WebServer};
#[cfg(test)]
pub(crate) use roles::HOMELAB;
#[cfg(test)]
pub(crate) use storage::Storage;
#[cfg(test)]
pub(crate) use vm::Vm;
#[cfg(test)]
pub(crate) use volume::{Place, Volume, blocks, fresh_use};
