"""The countries of the tiny model: members of the United Nations and Vatican City.

One line per country: name | capital | continent | a main language | currency.
"""

from typing import NamedTuple


class Country(NamedTuple):
    """One country; `name` carries its article where English wants one."""

    name: str
    capital: str
    continent: str
    language: str
    currency: str


_TABLE = """
Afghanistan|Kabul|Asia|Pashto|afghani
Albania|Tirana|Europe|Albanian|lek
Algeria|Algiers|Africa|Arabic|Algerian dinar
Andorra|Andorra la Vella|Europe|Catalan|euro
Angola|Luanda|Africa|Portuguese|kwanza
Antigua and Barbuda|St. John's|North America|English|East Caribbean dollar
Argentina|Buenos Aires|South America|Spanish|Argentine peso
Armenia|Yerevan|Asia|Armenian|dram
Australia|Canberra|Oceania|English|Australian dollar
Austria|Vienna|Europe|German|euro
Azerbaijan|Baku|Asia|Azerbaijani|manat
the Bahamas|Nassau|North America|English|Bahamian dollar
Bahrain|Manama|Asia|Arabic|Bahraini dinar
Bangladesh|Dhaka|Asia|Bengali|taka
Barbados|Bridgetown|North America|English|Barbadian dollar
Belarus|Minsk|Europe|Belarusian|Belarusian ruble
Belgium|Brussels|Europe|Dutch|euro
Belize|Belmopan|North America|English|Belize dollar
Benin|Porto-Novo|Africa|French|CFA franc
Bhutan|Thimphu|Asia|Dzongkha|ngultrum
Bolivia|Sucre|South America|Spanish|boliviano
Bosnia and Herzegovina|Sarajevo|Europe|Bosnian|convertible mark
Botswana|Gaborone|Africa|Tswana|pula
Brazil|Brasilia|South America|Portuguese|real
Brunei|Bandar Seri Begawan|Asia|Malay|Brunei dollar
Bulgaria|Sofia|Europe|Bulgarian|euro
Burkina Faso|Ouagadougou|Africa|French|CFA franc
Burundi|Gitega|Africa|Kirundi|Burundian franc
Cambodia|Phnom Penh|Asia|Khmer|riel
Cameroon|Yaounde|Africa|French|CFA franc
Canada|Ottawa|North America|English|Canadian dollar
Cape Verde|Praia|Africa|Portuguese|escudo
the Central African Republic|Bangui|Africa|Sango|CFA franc
Chad|N'Djamena|Africa|Arabic|CFA franc
Chile|Santiago|South America|Spanish|Chilean peso
China|Beijing|Asia|Chinese|yuan
Colombia|Bogota|South America|Spanish|Colombian peso
the Comoros|Moroni|Africa|Comorian|Comorian franc
the Democratic Republic of the Congo|Kinshasa|Africa|French|Congolese franc
the Republic of the Congo|Brazzaville|Africa|French|CFA franc
Costa Rica|San Jose|North America|Spanish|colon
Croatia|Zagreb|Europe|Croatian|euro
Cuba|Havana|North America|Spanish|Cuban peso
Cyprus|Nicosia|Europe|Greek|euro
the Czech Republic|Prague|Europe|Czech|koruna
Denmark|Copenhagen|Europe|Danish|krone
Djibouti|Djibouti City|Africa|French|Djiboutian franc
Dominica|Roseau|North America|English|East Caribbean dollar
the Dominican Republic|Santo Domingo|North America|Spanish|Dominican peso
East Timor|Dili|Asia|Tetum|US dollar
Ecuador|Quito|South America|Spanish|US dollar
Egypt|Cairo|Africa|Arabic|Egyptian pound
El Salvador|San Salvador|North America|Spanish|US dollar
Equatorial Guinea|Malabo|Africa|Spanish|CFA franc
Eritrea|Asmara|Africa|Tigrinya|nakfa
Estonia|Tallinn|Europe|Estonian|euro
Eswatini|Mbabane|Africa|Swazi|lilangeni
Ethiopia|Addis Ababa|Africa|Amharic|birr
Fiji|Suva|Oceania|Fijian|Fijian dollar
Finland|Helsinki|Europe|Finnish|euro
France|Paris|Europe|French|euro
Gabon|Libreville|Africa|French|CFA franc
the Gambia|Banjul|Africa|English|dalasi
Georgia|Tbilisi|Asia|Georgian|lari
Germany|Berlin|Europe|German|euro
Ghana|Accra|Africa|English|cedi
Greece|Athens|Europe|Greek|euro
Grenada|St. George's|North America|English|East Caribbean dollar
Guatemala|Guatemala City|North America|Spanish|quetzal
Guinea|Conakry|Africa|French|Guinean franc
Guinea-Bissau|Bissau|Africa|Portuguese|CFA franc
Guyana|Georgetown|South America|English|Guyanese dollar
Haiti|Port-au-Prince|North America|Haitian Creole|gourde
Honduras|Tegucigalpa|North America|Spanish|lempira
Hungary|Budapest|Europe|Hungarian|forint
Iceland|Reykjavik|Europe|Icelandic|Icelandic krona
India|New Delhi|Asia|Hindi|Indian rupee
Indonesia|Jakarta|Asia|Indonesian|rupiah
Iran|Tehran|Asia|Persian|rial
Iraq|Baghdad|Asia|Arabic|Iraqi dinar
Ireland|Dublin|Europe|English|euro
Israel|Jerusalem|Asia|Hebrew|shekel
Italy|Rome|Europe|Italian|euro
the Ivory Coast|Yamoussoukro|Africa|French|CFA franc
Jamaica|Kingston|North America|English|Jamaican dollar
Japan|Tokyo|Asia|Japanese|yen
Jordan|Amman|Asia|Arabic|Jordanian dinar
Kazakhstan|Astana|Asia|Kazakh|tenge
Kenya|Nairobi|Africa|Swahili|Kenyan shilling
Kiribati|South Tarawa|Oceania|Gilbertese|Australian dollar
North Korea|Pyongyang|Asia|Korean|North Korean won
South Korea|Seoul|Asia|Korean|South Korean won
Kuwait|Kuwait City|Asia|Arabic|Kuwaiti dinar
Kyrgyzstan|Bishkek|Asia|Kyrgyz|som
Laos|Vientiane|Asia|Lao|kip
Latvia|Riga|Europe|Latvian|euro
Lebanon|Beirut|Asia|Arabic|Lebanese pound
Lesotho|Maseru|Africa|Sotho|loti
Liberia|Monrovia|Africa|English|Liberian dollar
Libya|Tripoli|Africa|Arabic|Libyan dinar
Liechtenstein|Vaduz|Europe|German|Swiss franc
Lithuania|Vilnius|Europe|Lithuanian|euro
Luxembourg|Luxembourg City|Europe|Luxembourgish|euro
Madagascar|Antananarivo|Africa|Malagasy|ariary
Malawi|Lilongwe|Africa|Chichewa|kwacha
Malaysia|Kuala Lumpur|Asia|Malay|ringgit
the Maldives|Male|Asia|Dhivehi|rufiyaa
Mali|Bamako|Africa|Bambara|CFA franc
Malta|Valletta|Europe|Maltese|euro
the Marshall Islands|Majuro|Oceania|Marshallese|US dollar
Mauritania|Nouakchott|Africa|Arabic|ouguiya
Mauritius|Port Louis|Africa|English|Mauritian rupee
Mexico|Mexico City|North America|Spanish|Mexican peso
Micronesia|Palikir|Oceania|English|US dollar
Moldova|Chisinau|Europe|Romanian|Moldovan leu
Monaco|Monaco|Europe|French|euro
Mongolia|Ulaanbaatar|Asia|Mongolian|tugrik
Montenegro|Podgorica|Europe|Montenegrin|euro
Morocco|Rabat|Africa|Arabic|Moroccan dirham
Mozambique|Maputo|Africa|Portuguese|metical
Myanmar|Naypyidaw|Asia|Burmese|kyat
Namibia|Windhoek|Africa|English|Namibian dollar
Nauru|Yaren|Oceania|Nauruan|Australian dollar
Nepal|Kathmandu|Asia|Nepali|Nepalese rupee
the Netherlands|Amsterdam|Europe|Dutch|euro
New Zealand|Wellington|Oceania|English|New Zealand dollar
Nicaragua|Managua|North America|Spanish|cordoba
Niger|Niamey|Africa|Hausa|CFA franc
Nigeria|Abuja|Africa|English|naira
North Macedonia|Skopje|Europe|Macedonian|denar
Norway|Oslo|Europe|Norwegian|krone
Oman|Muscat|Asia|Arabic|Omani rial
Pakistan|Islamabad|Asia|Urdu|Pakistani rupee
Palau|Ngerulmud|Oceania|Palauan|US dollar
Panama|Panama City|North America|Spanish|balboa
Papua New Guinea|Port Moresby|Oceania|Tok Pisin|kina
Paraguay|Asuncion|South America|Spanish|guarani
Peru|Lima|South America|Spanish|sol
the Philippines|Manila|Asia|Filipino|Philippine peso
Poland|Warsaw|Europe|Polish|zloty
Portugal|Lisbon|Europe|Portuguese|euro
Qatar|Doha|Asia|Arabic|riyal
Romania|Bucharest|Europe|Romanian|leu
Russia|Moscow|Europe|Russian|ruble
Rwanda|Kigali|Africa|Kinyarwanda|Rwandan franc
Saint Kitts and Nevis|Basseterre|North America|English|East Caribbean dollar
Saint Lucia|Castries|North America|English|East Caribbean dollar
Saint Vincent and the Grenadines|Kingstown|North America|English|East Caribbean dollar
Samoa|Apia|Oceania|Samoan|tala
San Marino|San Marino|Europe|Italian|euro
Sao Tome and Principe|Sao Tome|Africa|Portuguese|dobra
Saudi Arabia|Riyadh|Asia|Arabic|Saudi riyal
Senegal|Dakar|Africa|French|CFA franc
Serbia|Belgrade|Europe|Serbian|Serbian dinar
Seychelles|Victoria|Africa|Creole|Seychellois rupee
Sierra Leone|Freetown|Africa|English|leone
Singapore|Singapore|Asia|English|Singapore dollar
Slovakia|Bratislava|Europe|Slovak|euro
Slovenia|Ljubljana|Europe|Slovene|euro
the Solomon Islands|Honiara|Oceania|English|Solomon Islands dollar
Somalia|Mogadishu|Africa|Somali|Somali shilling
South Africa|Pretoria|Africa|Zulu|rand
South Sudan|Juba|Africa|English|South Sudanese pound
Spain|Madrid|Europe|Spanish|euro
Sri Lanka|Sri Jayawardenepura Kotte|Asia|Sinhala|Sri Lankan rupee
Sudan|Khartoum|Africa|Arabic|Sudanese pound
Suriname|Paramaribo|South America|Dutch|Surinamese dollar
Sweden|Stockholm|Europe|Swedish|krona
Switzerland|Bern|Europe|German|Swiss franc
Syria|Damascus|Asia|Arabic|Syrian pound
Tajikistan|Dushanbe|Asia|Tajik|somoni
Tanzania|Dodoma|Africa|Swahili|Tanzanian shilling
Thailand|Bangkok|Asia|Thai|baht
Togo|Lome|Africa|French|CFA franc
Tonga|Nuku'alofa|Oceania|Tongan|pa'anga
Trinidad and Tobago|Port of Spain|North America|English|Trinidad and Tobago dollar
Tunisia|Tunis|Africa|Arabic|Tunisian dinar
Turkey|Ankara|Asia|Turkish|lira
Turkmenistan|Ashgabat|Asia|Turkmen|manat
Tuvalu|Funafuti|Oceania|Tuvaluan|Australian dollar
Uganda|Kampala|Africa|English|Ugandan shilling
Ukraine|Kyiv|Europe|Ukrainian|hryvnia
the United Arab Emirates|Abu Dhabi|Asia|Arabic|dirham
the United Kingdom|London|Europe|English|pound sterling
the United States|Washington, D.C.|North America|English|US dollar
Uruguay|Montevideo|South America|Spanish|Uruguayan peso
Uzbekistan|Tashkent|Asia|Uzbek|sum
Vanuatu|Port Vila|Oceania|Bislama|vatu
Vatican City|Vatican City|Europe|Italian|euro
Venezuela|Caracas|South America|Spanish|bolivar
Vietnam|Hanoi|Asia|Vietnamese|dong
Yemen|Sana'a|Asia|Arabic|Yemeni rial
Zambia|Lusaka|Africa|English|kwacha
Zimbabwe|Harare|Africa|English|Zimbabwe gold
"""

COUNTRIES = [Country(*line.split("|")) for line in _TABLE.strip().splitlines()]
