//! Accounts: the company that a prospect belongs to.

/// Domains at which anybody may have an address: they make no account. The large ones, by what mail providers say of
/// themselves; a person at another free provider makes an account of one domain, which is visible and harmless.
const FREE_MAIL: [&str; 44] = [
    "126.com",
    "163.com",
    "aol.com",
    "bluewin.ch",
    "comcast.net",
    "fastmail.com",
    "free.fr",
    "freenet.de",
    "gmail.com",
    "gmx.at",
    "gmx.ch",
    "gmx.com",
    "gmx.de",
    "gmx.net",
    "googlemail.com",
    "hey.com",
    "hotmail.co.uk",
    "hotmail.com",
    "hotmail.fr",
    "icloud.com",
    "laposte.net",
    "libero.it",
    "live.com",
    "mac.com",
    "mail.com",
    "mail.ru",
    "me.com",
    "msn.com",
    "naver.com",
    "orange.fr",
    "outlook.com",
    "outlook.de",
    "pm.me",
    "proton.me",
    "protonmail.com",
    "qq.com",
    "t-online.de",
    "tutanota.com",
    "web.de",
    "yahoo.co.jp",
    "yahoo.co.uk",
    "yahoo.com",
    "yandex.ru",
    "ymail.com",
];

/// The business domain of an address; `None` for free mail and for an address of which we only know the hash.
#[must_use]
pub fn of_email(address: &str) -> Option<&str> {
    let (_, domain) = address.rsplit_once('@')?;
    (!FREE_MAIL.contains(&domain)).then_some(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_mail_and_hashes_make_no_account() {
        assert_eq!(of_email("ada@example.com"), Some("example.com"));
        assert_eq!(of_email("ada@gmail.com"), None);
        assert_eq!(of_email("sha256:00"), None);
    }
}
