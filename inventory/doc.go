// Package inventory answers what HSS knows of an image now.
//
// A reference belongs to the one configured registry that claims its host and
// namespace; if none does, the image is not found, whatever its path. HSS is
// asked for the image by name, and every row that it sends is compared here,
// exactly and in every part: HSS's own filters are not documented to be exact.
//
// What an operator should know:
//
//   - Answers are kept in memory, for cache.freshFor if the image is scanned,
//     and more briefly if it is unknown or waits for its scan.
//   - HSS is asked once for an image, however many requests need it, and goes
//     on being asked when the request that needed it first has run out of time;
//     the next request finds the answer.
//   - While HSS cannot be asked, what is known is used up to cache.maxStaleness
//     and says so. Past that the image is "unavailable", with HSS's reason.
//   - A failed attempt is remembered for cache.errorFor, or for as long as HSS
//     says, so that an outage is not made worse.
package inventory
