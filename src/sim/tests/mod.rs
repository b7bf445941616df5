//! The simulator seen from outside: HTTP through its gateway, as any client would.

mod access;
mod cluster;
mod echo;
mod lab;
mod membership;
mod network;
mod nodes;
mod replay;
mod storage;
mod virtual_machines;
mod volumes;
