// The documentation as a site: the pages of docs/ and some from elsewhere, as GitHub shows them. `make site` builds it.
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitepress'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../../..')
const repository = 'https://github.com/hssgate/hssgate'
const site = '/hssgate/'

// Where pages from outside of docs/ are on the site.
const elsewhere = {
  'README.md': 'index.md',
  'README.zh-CN.md': 'zh-CN/index.md',
  'CHANGELOG.md': 'changelog.md',
  'SECURITY.md': 'security.md',
  'config/reference.md': 'reference/configuration.md',
  'charts/hssgate/README.md': 'reference/chart.md',
  'docs/README.md': 'contents.md',
}

// pageOf returns where a Markdown file is on the site, or undefined.
const pageOf = (file) => elsewhere[file] ?? (/^docs\/.*\.md$/.test(file) ? file.slice('docs/'.length) : undefined)

// linkFrom returns the link for the site that a link in a file, which GitHub follows, stands for.
function linkFrom(file, link) {
  if (/^(#|[a-z]+:)/.test(link)) return link
  const [path, anchor] = link.split('#')
  const target = normalize(join(dirname(file), path))
  if (!existsSync(join(root, target))) throw new Error(`${file} links to ${link}, which doesn't exist`)
  const page = pageOf(target)
  const place = page ? '/' + page.replace(/(^|\/)index\.md$/, '$1') : `${repository}/blob/main/${target}`
  return anchor ? `${place}#${anchor}` : place
}

// sidebar reads the groups and the links of docs/README.md.
function sidebar(chinese) {
  const groups = readFileSync(join(root, 'docs/README.md'), 'utf8').split(/^## /m).slice(1).map((part) => ({
    text: part.split('\n', 1)[0],
    items: [...part.matchAll(/\[([^\]]+)\]\(([^)]+)\)/g)].map(([, text, link]) => ({
      text: text[0].toUpperCase() + text.slice(1),
      link: linkFrom('docs/README.md', link),
    })),
  }))
  return groups.filter(({ text }) => (text === '中文') === chinese)
}

// tokenize finds words, and pairs of characters where Chinese has no spaces. The build and the browser both run it.
function tokenize(text) {
  return text.split(/[\n\r\p{Z}\p{P}]+|(?<=\p{sc=Han})(?!\p{sc=Han})|(?<!\p{sc=Han})(?=\p{sc=Han})/u).flatMap((run) =>
    run.length > 2 && /\p{sc=Han}/u.test(run) ? Array.from({ length: run.length - 1 }, (_, i) => run.slice(i, i + 2)) : run)
}

// fromHere finds what pages import: they are not below the folder that has node_modules.
const fromHere = {
  name: 'from-here',
  enforce: 'pre',
  resolveId(id, importer, options) {
    return /^vue(\/|$)/.test(id) && importer?.endsWith('.md') ? this.resolve(id, fileURLToPath(import.meta.url), { ...options, skipSelf: true }) : null
  },
}

const icon = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path fill="#c7000b" d="M12 1 3 5v6c0 5.5 3.8 10.7 9 12 5.2-1.3 9-6.5 9-12V5z"/><path fill="none" stroke="#fff" stroke-width="2.5" d="m7.5 12 3 3 6-6"/></svg>'

// Wider than the theme's, for tables and messages; what a terminal shows is wrapped.
const style = `
:root { --vp-layout-max-width: 1600px }
.VPDoc.has-aside .content-container { max-width: 900px !important }
.vp-doc :not(pre) > code { overflow-wrap: break-word }
.vp-doc .language-console code { white-space: pre-wrap; overflow-wrap: anywhere }
.vp-doc table { font-size: 0.9em }`

const chineseSearch = {
  button: { buttonText: '搜索', buttonAriaLabel: '搜索' },
  modal: {
    displayDetails: '显示详情', resetButtonTitle: '清除', backButtonTitle: '关闭', noResultsText: '没有结果：',
    footer: { selectText: '打开', navigateText: '切换', closeText: '关闭' },
  },
}

export default defineConfig({
  title: 'hssgate',
  description: 'Admits or denies pods by what Huawei Cloud HSS found in their images',
  base: site,
  srcDir: root,
  outDir: join(root, 'bin/site'),
  cacheDir: join(root, 'hack/site/node_modules/.cache'),
  srcExclude: ['!(docs|config|charts)/**/*.md', 'config/!(reference).md', 'config/*/**', 'charts/*/!(README).md', 'charts/*/*/**'],
  rewrites: (page) => pageOf(page) ?? page,
  cleanUrls: true,
  head: [
    ['link', { rel: 'icon', href: `data:image/svg+xml,${encodeURIComponent(icon)}` }],
    ['style', {}, style],
  ],
  vite: { plugins: [fromHere] },
  markdown: {
    config(md) {
      // Vue reads {{ }} in code as its own, and the theme's style is only for fenced blocks.
      const { code_inline: inline, fence } = md.renderer.rules
      md.renderer.rules.code_inline = (tokens, at, ...rest) => (tokens[at].attrSet('v-pre', ''), inline(tokens, at, ...rest))
      md.renderer.rules.code_block = (tokens, at, ...rest) => ((tokens[at].info = 'text'), fence(tokens, at, ...rest))
      // Chinese has no spaces between the lines of a paragraph.
      const chinese = /[\p{sc=Han}，。；：、（）！？]/u
      md.renderer.rules.softbreak = (tokens, at) =>
        chinese.test(tokens[at - 1]?.content.at(-1)) && chinese.test(tokens[at + 1]?.content[0]) ? '' : '\n'
      md.core.ruler.push('links-of-github', ({ tokens, env }) => {
        const file = relative(root, env.realPath ?? env.path)
        for (const token of tokens.flatMap((t) => t.children ?? [])) {
          if (token.type === 'link_open') token.attrSet('href', linkFrom(file, token.attrGet('href')))
        }
      })
    },
    anchor: { slugify: (heading) => heading.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-') }, // as GitHub does
  },
  themeConfig: {
    search: { provider: 'local', options: { miniSearch: { options: { tokenize } }, locales: { 'zh-CN': { translations: chineseSearch } } } },
    socialLinks: [{ icon: 'github', link: repository }],
    outline: [2, 3],
    i18nRouting: false,
    editLink: { pattern: `${repository}/edit/main/:path`, text: 'Edit this page on GitHub' },
  },
  locales: {
    root: {
      label: 'English', lang: 'en',
      themeConfig: { nav: [{ text: 'Tutorial', link: '/tutorial' }, { text: 'Install', link: '/install' }, { text: 'Contents', link: '/contents' }], sidebar: sidebar(false) },
    },
    'zh-CN': {
      label: '简体中文', lang: 'zh-CN',
      themeConfig: {
        nav: [{ text: '教程', link: '/zh-CN/tutorial' }, { text: '安装', link: '/zh-CN/install' }],
        sidebar: sidebar(true),
        outline: { level: [2, 3], label: '本页目录' }, docFooter: { prev: '上一页', next: '下一页' }, editLink: { pattern: `${repository}/edit/main/:path`, text: '在 GitHub 上编辑此页' },
        darkModeSwitchLabel: '深色模式', sidebarMenuLabel: '菜单', returnToTopLabel: '回到顶部', langMenuLabel: '语言',
      },
    },
  },
})
