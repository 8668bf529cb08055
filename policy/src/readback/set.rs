//! Sets of `ipset save`.

use std::net::IpAddr;

use super::words::number;
use super::{Installed, InstalledSet};
use crate::address::{Cidr, Family};
use crate::model::Protocol;
use crate::names::SetName;
use crate::render::{MAX_MEMBERS, family_word, kind_word, protocol_word};
use crate::ruleset::{Members, SetKind};

/// Takes what `ipset save` printed, in place of what was known about sets. Sets of others and
/// of the other family are passed over.
pub fn read_sets(installed: &mut Installed, save_output: &str) {
    installed.sets.clear();
    let family = installed.family;
    for line in save_output.lines() {
        let mut words = line.split(' ').filter(|word| !word.is_empty());
        let (Some(verb), Some(name)) = (words.next(), words.next()) else { continue };
        let ours = SetName::read(name).filter(|name| name.family() == Some(family));
        let Some(name) = ours else { continue };
        let words: Vec<&str> = words.collect();
        match verb {
            "create" => {
                let members = created(&words, family);
                installed.sets.insert(name, InstalledSet { kind: kind(&words, family), members });
            }
            "add" => {
                let unknown = InstalledSet { kind: None, members: None };
                let set = installed.sets.entry(name).or_insert(unknown);
                if let Some(members) = &mut set.members
                    && add(members, &words, family).is_none()
                {
                    set.members = None;
                }
            }
            _ => {}
        }
    }
}

/// The type of a set that was made with these words, if we make such of this family.
fn kind(words: &[&str], family: Family) -> Option<SetKind> {
    let (kind, options) = words.split_first()?;
    let is_ours = options.chunks(2).any(|option| option == ["family", family_word(family)]);
    SetKind::ALL.into_iter().find(|one| is_ours && kind_word(*one) == *kind)
}

/// What a set that was made with these words starts with, if they are such as we use.
fn created(words: &[&str], family: Family) -> Option<Members> {
    let (_, options) = words.split_first()?;
    let is_said = |name: &str| options.chunks(2).any(|option| option[0] == name);
    (is_said("family") && is_said("maxelem")).then_some(())?;
    for option in options.chunks(2) {
        match option {
            ["family", word] => (*word == family_word(family)).then_some(())?,
            ["maxelem", most] => (number::<usize>(most)? == MAX_MEMBERS).then_some(())?,
            // How the kernel lays it out.
            ["hashsize" | "bucketsize" | "initval", _] => {}
            // Members that go by themselves, are counted, stand for more, and so on.
            _ => return None,
        }
    }
    kind(words, family).map(Members::none_of)
}

/// Puts in a member; `None` if it is not one that we write.
fn add(members: &mut Members, words: &[&str], family: Family) -> Option<()> {
    let [word] = words else { return None };
    let address =
        |word: &str| word.parse::<IpAddr>().ok().filter(|address| Family::of(*address) == family);
    match members {
        Members::Addresses(all) => drop(all.insert(address(word)?)),
        Members::Blocks(all) => {
            let block = match word.parse::<IpAddr>() {
                Ok(address) => Cidr::host(address),
                Err(_) => word.parse().ok()?,
            };
            (block.family() == family).then_some(())?;
            all.insert(block);
        }
        Members::Attached(all) => {
            let (member, interface) = word.split_once(',')?;
            all.insert((address(member)?, interface.parse().ok()?));
        }
        Members::Ports(all) => {
            let (member, port) = word.split_once(',')?;
            let (protocol, port) = port.split_once(':')?;
            let protocol = Protocol::ALL.into_iter().find(|one| protocol_word(*one) == protocol)?;
            all.insert((address(member)?, protocol, number(port)?));
        }
    }
    Some(())
}
