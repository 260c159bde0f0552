//! Blocks of addresses.

use std::net::IpAddr;

use ipnet::IpNet;

use super::grammar::CidrRule;

/// A block without some blocks in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    whole: IpNet,
    except: Vec<IpNet>,
}

impl Block {
    /// Compiles an entry of `toCIDR`: a block, or one address.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub(super) fn of_cidr(text: &str) -> Result<Self, String> {
        let whole = match text.parse::<IpAddr>() {
            Ok(address) => address.into(),
            Err(_) => block(text)?,
        };
        Ok(Self { whole, except: Vec::new() })
    }

    /// Compiles an entry of `toCIDRSet`; `Ok(None)` is a group that Cilium alone knows.
    ///
    /// # Errors
    /// What is wrong with it, as a key below the entry and a sentence.
    pub(super) fn of_rule(rule: &CidrRule) -> Result<Option<Self>, (String, String)> {
        let cidr = match (&rule.cidr, &rule.cidr_group_ref, &rule.cidr_group_selector) {
            (Some(cidr), None, None) => cidr,
            (None, Some(_), None) | (None, None, Some(_)) => return Ok(None),
            _ => return Err((String::new(), "expected exactly one of `cidr`, `cidrGroupRef` and `cidrGroupSelector`".to_owned())),
        };
        let whole = block(cidr).map_err(|why| (".cidr".to_owned(), why))?;
        let mut except = Vec::new();
        for (index, text) in rule.except.iter().enumerate() {
            let inner = block(text).map_err(|why| (format!(".except[{index}]"), why))?;
            if !whole.contains(&inner.addr()) {
                return Err((format!(".except[{index}]"), "expected a block within `cidr`".to_owned()));
            }
            except.push(inner);
        }
        Ok(Some(Self { whole, except }))
    }

    /// Does the address lie in it?
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.whole.contains(&address) && !self.except.iter().any(|block| block.contains(&address))
    }

    /// Does every address of its family lie in it?
    pub(super) fn is_everything(&self) -> bool {
        self.whole.prefix_len() == 0 && self.except.is_empty()
    }
}

fn block(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>().map_err(|_| "expected a block of addresses such as 10.0.0.0/8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::Block;
    use crate::policy::grammar::CidrRule;

    fn rule(cidr: Option<&str>, except: &[&str], group: Option<&str>) -> CidrRule {
        CidrRule {
            cidr: cidr.map(str::to_owned),
            except: except.iter().map(|&text| text.to_owned()).collect(),
            cidr_group_ref: group.map(str::to_owned),
            cidr_group_selector: None,
        }
    }

    #[test]
    fn a_block_holds_its_addresses_but_those_left_out() {
        let block = Block::of_rule(&rule(Some("10.0.0.0/8"), &["10.96.0.0/12"], None)).unwrap().unwrap();
        for (address, expected) in
            [("10.1.2.3", true), ("10.97.0.1", false), ("11.0.0.1", false), ("::ffff:10.1.2.3", true), ("fd00::1", false)]
        {
            assert_eq!(block.contains(address.parse().unwrap()), expected, "{address}");
        }
        assert!(Block::of_cidr("192.0.2.1").unwrap().contains("192.0.2.1".parse().unwrap()));
        assert!(!Block::of_cidr("192.0.2.1").unwrap().contains("192.0.2.2".parse().unwrap()));
    }

    #[test]
    fn blocks_that_are_not_understood_are_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0/8", "a", "10.0.0.0/", "10.0.0.0/-1"] {
            assert!(Block::of_cidr(text).is_err(), "{text}");
        }
        for bad in [
            rule(Some("10.0.0.1"), &[], None),
            rule(Some("10.0.0.0/8"), &["11.0.0.0/16"], None),
            rule(Some("10.0.0.0/8"), &["fd00::/64"], None),
            rule(Some("10.0.0.0/8"), &[], Some("group")),
            rule(None, &[], None),
        ] {
            assert!(Block::of_rule(&bad).is_err(), "{bad:?}");
        }
        assert_eq!(Block::of_rule(&rule(None, &[], Some("group"))), Ok(None));
    }
}
