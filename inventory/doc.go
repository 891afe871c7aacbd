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
//     and more briefly if it is unknown or waits for its scan. What is in use
//     is refreshed in the background before that. cache.maxImages and
//     cache.maxBytes bound the memory; images that HSS does not know are kept
//     apart and push out only each other.
//   - HSS is asked once for an image, however many requests need it, and goes
//     on being asked when the request that needed it first has run out of time;
//     the next request finds the answer.
//   - While HSS cannot be asked, what is known is used up to cache.maxStaleness
//     and says so. Past that the image is "unavailable", with HSS's reason.
//   - Each project has a budget of calls (requestsPerSecond, burst,
//     maxConcurrent). Admissions come first; refreshing, synchronising and
//     audits get what is left, and no more than backgroundPercent. Past
//     maxWaiting an image that is not known is unavailable at once.
//   - A failed attempt is remembered for cache.errorFor, or for as long as HSS
//     says. If attempts go on failing, HSS is not asked for some seconds, then
//     up to a minute, and is tried with one question at a time until it
//     answers (a circuit breaker), so that an outage is neither waited for nor
//     made worse.
//   - A project may be synchronised (sync): listed as a whole from time to time
//     and asked for changes in between. An answer is then fresh for as long as
//     the project's changes are known, and an image that is named by a tag
//     costs no call. One that the list does not show is asked for singly all
//     the same, since it may have been pushed a moment ago; one that it showed
//     and shows no more is too, since a list that changes may miss a row.
package inventory
