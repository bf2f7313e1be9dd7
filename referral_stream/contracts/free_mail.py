"""Domains at which everybody may have a mailbox: two addresses there have nothing in common (after §5).

A list of our own, with a version (docs/decisions/0024-free-mail-domains.md). A provider that is missing costs a look at
a reward that needed none; a company's domain in it would hide that two people are colleagues. So only providers that
are certain belong here. Whoever changes it raises ``VERSION``.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 1
"""Of the list. Hashes that were written under an older one stay as they were."""

_BY_NAME: Final = {
    "aol": "co.uk com com.br de es fr it jp nl pl",
    "caramail": "com fr",
    "fastmail": "com fm net",
    "gmx": "at ch co.uk com de es eu fr it li net org us",
    "hotmail": "at be ca ch cl co.il co.jp co.kr co.nz co.th co.uk co.za com com.ar com.au com.br com.hk com.mx com.tr "
    "com.tw com.vn cz de dk es fi fr gr hu it jp nl no nz ph rs se sg sk",
    "live": "at be ca ch cl cn co.kr co.uk co.za com com.ar com.au com.mx com.my com.pt com.sg de dk fi fr hk ie in it "
    "jp nl no ph pt ru se",
    "mail": "bg com ee ru",
    "outlook": "at be cl co.id co.il co.th com com.ar com.au com.br com.gr com.pe com.tr com.vn cz de dk es fr hu ie "
    "in it jp kr lv my ph pt sa sg sk",
    "protonmail": "ch com",
    "rocketmail": "com",
    "seznam": "cz",
    "tiscali": "co.uk cz fr it",
    "tutanota": "com de",
    "virgilio": "it",
    "yahoo": "at be bg ca cl cn co.id co.il co.in co.jp co.kr co.nz co.th co.uk co.za com com.ar com.au com.br com.cn "
    "com.co com.hk com.mx com.my com.pe com.ph com.sg com.tr com.tw com.ua com.ve com.vn cz de dk es fi fr gr hr hu "
    "ie in it lt lv ma nl no pl pt ro rs ru se si sk",
    "yandex": "az by com com.am com.ge com.tr ee fr kz lt lv md net ru tj tm ua uz",
    "zoho": "com eu in",
}
"""Name → the suffixes under which the provider of that name gives out mailboxes."""

_ALONE: Final = """
123mail.org 126.com 139.com 163.com 188.com 189.cn 1und1.de abv.bg alice-dsl.net alice.it aliceadsl.fr aliyun.com
aon.at arcor.de att.net azet.sk bbox.fr bell.net bellsouth.net bezeqint.net bigpond.com bigpond.net.au bk.ru
bluemail.ch bluewin.ch blueyonder.co.uk bol.com.br bredband.net btconnect.com btinternet.com btopenworld.com
centrum.cz centrum.sk charter.net chello.at chello.cz chello.hu chello.nl chello.sk citromail.hu club-internet.fr
comcast.net cox.net daum.net docomo.ne.jp dodo.com.au duck.com earthlink.net eclipso.de eclipso.eu email.com
email.cz email.de email.it ewe.net ezweb.ne.jp foxmail.com free.fr freemail.hu freenet.de freesurf.ch frontier.com
frontiernet.net gmail.com googlemail.com hanmail.net hetnet.nl hey.com hispeed.ch home.nl hushmail.com i.ua
icloud.com ig.com.br iinet.net.au inbox.com inbox.lv inbox.ru inode.at interia.eu interia.pl internode.on.net
inwind.it iol.ie iol.it kabelmail.de kolumbus.fi kpnmail.nl kpnplanet.nl laposte.net libero.it list.ru luukku.com
mac.com mail.de mailbox.org mailfence.com me.com meta.ua mopera.net msn.com mweb.co.za nate.com naver.com
neostrada.pl netcologne.de netcourrier.com netscape.net netvigator.com neuf.fr noos.fr ntlworld.com numericable.fr
o2.pl o2mail.de o2online.de oi.com.br onet.eu onet.pl online.de online.fr online.no op.pl optonline.net
optusnet.com.au orange.es orange.fr otenet.gr passport.com planet.nl pm.me poczta.fm poczta.onet.pl posteo.de
posteo.net privaterelay.appleid.com proton.me q.com qq.com quicknet.nl r7.com rambler.ru rediffmail.com rogers.com
runbox.com sapo.pt saunalahti.fi sbcglobal.net sfr.fr shaw.ca sify.com sina.cn sina.com sky.com skynet.be
softbank.ne.jp sohu.com spray.se startmail.com suddenlink.net sunrise.ch sympatico.ca t-online.de t-online.hu
talktalk.net tele2.nl telefonica.net telenet.be telia.com telkomsa.net telus.net terra.com terra.com.br terra.es
tin.it tlen.pl tuta.com tuta.io tutamail.com ukr.net unitybox.de uol.com.br upcmail.nl usa.net verizon.net
videotron.ca virgin.net virginmedia.com vodafone.de vodafone.it vodafone.nl vodamail.co.za volny.cz voo.be
wanadoo.es wanadoo.fr web.de webmail.co.za windowslive.com windstream.net wp.pl xs4all.nl xtra.co.nz ya.ru yeah.net
ymail.com zeelandnet.nl ziggo.nl zonnet.nl zoznam.sk
"""
"""Providers of one domain each, or of several without a name in common: mail services, and internet providers."""

FREE_MAIL: Final = frozenset({
    *_ALONE.split(),
    *(f"{name}.{suffix}" for name, suffixes in _BY_NAME.items() for suffix in suffixes.split()),
})  # fmt: skip
"""The domains, as ``normal_address`` writes them."""
